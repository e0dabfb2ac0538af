package mail

import (
	"regexp"
	"slices"
	"strings"
)

// The placeholders in texts:
//
//	{app}            the name of the product; allowed in every text of an email
//	{to}             the recipient's email address
//	{old}, {new}     the old and the new email address, in emails about a change
//	{provider}       the title of a sign-in provider, in emails about providers
//	{left}           the number of recovery codes left, in the email about a used one
//	{reason}         the operator's reason, in the email about a reset of second factors
//	{for}, {until}   how long a link works, and until when
//	{why}            why the recipient gets the email, in the footer
//	{n}              the number in minutes, hours and days
//	{browser}, {system}   such as Firefox 142 and Linux
//	{day}, {month}, {year}, {hour}, {minute}   the parts of a time
//
// Subjects, previews, buttons and reasons contain {app} only: other people see subjects, for example
// on a locked phone.
var placeholderPattern = regexp.MustCompile(`\{[^{}]*\}`)

// optional are the placeholders that another text may leave out.
var optional = []string{"{app}", "{why}", "{until}"}

// placeholders returns the distinct placeholders in texts.
func placeholders(texts []string) []string {
	var found []string
	for _, text := range texts {
		found = append(found, placeholderPattern.FindAllString(text, -1)...)
	}
	slices.Sort(found)

	return slices.Compact(found)
}

// checkPlaceholders compares the placeholders of a text with those of the English one, which is the
// model.
func checkPlaceholders(key string, given, model entry, english entries) (faults []fault) {
	used := placeholders(given.texts)
	allowed := allowedPlaceholders(key, model, english)

	for _, name := range used {
		if !slices.Contains(allowed, name) {
			reason := "unknown placeholder " + name
			if len(allowed) > 0 {
				reason += "; possible: " + strings.Join(allowed, " ")
			}
			faults = append(faults, fault{key, reason})
		}
	}
	for _, name := range placeholders(model.texts) {
		if !slices.Contains(used, name) && !slices.Contains(optional, name) {
			faults = append(faults, fault{key, "must contain " + name})
		}
	}

	return faults
}

// allowedPlaceholders returns the placeholders that a text may contain.
func allowedPlaceholders(key string, model entry, english entries) []string {
	allowed := placeholders(model.texts)
	path := strings.Split(key, ".")

	switch {
	case key == "footer":
		allowed = append(allowed, "{app}")
	case path[0] == "emails":
		allowed = append(allowed, "{app}")

		switch path[2] {
		case "title", "body", "fewLeft", "otherwise":
			prefix := "emails." + path[1] + "."
			for name, other := range english {
				if strings.HasPrefix(name, prefix) {
					allowed = append(allowed, placeholders(other.texts)...)
				}
			}
			allowed = append(allowed, "{to}")
		}
	}
	slices.Sort(allowed)

	return slices.Compact(allowed)
}
