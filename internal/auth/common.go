package auth

import (
	_ "embed" // for the list
	"strings"
	"sync"
)

// commonList has the list's source and licence at its head.
//
//go:embed common.txt
var commonList string

// common is made when it is first asked: most commands never do.
var common = sync.OnceValue(func() map[string]struct{} {
	set := make(map[string]struct{}, strings.Count(commonList, "\n"))
	for line := range strings.Lines(commonList) {
		if !strings.HasPrefix(line, "#!") {
			set[fold(strings.TrimSuffix(line, "\n"))] = struct{}{}
		}
	}
	return set
})

// isCommon tells whether a password is one of those that are tried first (OWASP ASVS
// 5.0 6.2.4), in any case: capitals are the first that is tried next.
func isCommon(password string) bool {
	_, ok := common()[fold(password)]
	return ok
}
