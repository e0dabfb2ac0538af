package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/doctor"
	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// TrustedDevices returns the number of devices from which the user of an account logs in without a code.
func (a *Admin) TrustedDevices(u user.User) int { return len(u.ListTrusted(time.Now())) }

// SendsEmails reports whether emails are sent.
func (a *Admin) SendsEmails() bool { return a.smtp != nil }

// ParseReason checks the reason for a reset of factors, which its owner reads in an email.
func ParseReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	hidden := strings.ContainsFunc(reason, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})

	switch {
	case reason == "":
		return "", errors.New("must not be empty")
	case hidden || !utf8.ValidString(reason):
		return "", errors.New("must be one line without control characters")
	case utf8.RuneCountInString(reason) > mail.MaxReason:
		return "", fmt.Errorf("must have at most %d characters", mail.MaxReason)
	}

	return reason, nil
}

// ResetFactors removes all second factors, recovery codes and trusted devices of an account, ends its
// sessions and emails its owner the reason, which must be valid for ParseReason. It returns the number of
// sessions ended.
func (a *Admin) ResetFactors(ctx context.Context, ref, reason string) (user.User, int, error) {
	event := activity.Event{Name: activity.FactorsReset}

	return a.change(ctx, ref, event, func(caller auth.Caller) (auth.Changed, error) {
		return a.auth.ResetFactors(ctx, caller, reason)
	})
}

// rekeyPage is the number of accounts that Rekey reads at once.
const rekeyPage = 100

// Rekeyed is the result of Rekey.
type Rekeyed struct {
	auth.Seeds
	// Users are the IDs of the accounts with seeds that cannot be decrypted.
	Users []string
}

// Rekey encrypts the seeds of all authenticator apps with the first key of DATA_KEY. Servers can keep
// running if they have this key. progress is called after each full page with the number of accounts
// processed so far. If Rekey fails, the result covers what was done until then.
func (a *Admin) Rekey(ctx context.Context, progress func(accounts int)) (Rekeyed, error) {
	if !a.auth.FactorsAvailable() {
		return Rekeyed{}, errors.New("DATA_KEY is not set")
	}

	var result Rekeyed
	done := 0
	for after := ""; ; {
		page, err := a.users.ListWithFactors(ctx, user.Page{After: after, Limit: rekeyPage})
		if err != nil {
			return result, err
		}

		for _, u := range page {
			if err := a.rekeyAccount(ctx, u, &result); err != nil {
				return result, err
			}
		}

		done += len(page)
		if len(page) < rekeyPage {
			return result, nil
		}
		after = page[len(page)-1].ID
		progress(done)
	}
}

// rekeyAccount encrypts the seeds of one account and adds them to the result.
func (a *Admin) rekeyAccount(ctx context.Context, u user.Listed, result *Rekeyed) error {
	if u.Unreadable != "" {
		// Nobody can log in to the account. Its factors may be damaged, so count it as one seed.
		result.Undecryptable++
		result.Users = append(result.Users, u.ID)

		return nil
	}

	seeds, err := a.auth.Rekey(ctx, u.User)
	result.Add(seeds)
	if seeds.Undecryptable > 0 {
		result.Users = append(result.Users, u.ID)
	}

	return err
}

// DataKeys describes the keys of DATA_KEY and those that are missing in it by their IDs.
func (a *Admin) DataKeys(missing map[string]bool) string {
	return describeKeys(a.auth.DataKeyIDs(), missing)
}

// describeKeys returns why seeds cannot be decrypted, such as "DATA_KEY has the keys 1a2b3c4d; missing:
// 5e6f7a8b". keys and missing are the IDs of keys.
func describeKeys(keys []string, missing map[string]bool) string {
	text := "DATA_KEY has no keys"
	if len(keys) > 0 {
		text = "DATA_KEY has the keys " + strings.Join(keys, ", ")
	}

	switch {
	case len(missing) > 0:
		text += "; missing: " + strings.Join(slices.Sorted(maps.Keys(missing)), ", ")
	case len(keys) > 0:
		text += "; no key is missing, so the secrets are damaged"
	}

	return text
}

// seedSample is the number of accounts whose seeds checkFactors decrypts.
const seedSample = 100

// checkFactors checks whether DATA_KEY decrypts the seeds of the newest accounts with an authenticator app.
func (p parts) checkFactors(ctx context.Context) []doctor.Finding {
	result := doctor.Factors{Configured: p.auth.FactorsAvailable()}

	var seeds auth.Seeds
	sample, err := p.users.ListWithFactors(ctx, user.Page{Limit: seedSample})
	for _, u := range sample {
		if u.Unreadable == "" {
			seeds.Add(p.auth.CheckSeeds(u.User))
		}
	}

	result.Err = err
	result.Seeds = seeds.Current + seeds.Outdated + seeds.Undecryptable
	result.Undecryptable = seeds.Undecryptable
	result.Damaged = seeds.Undecryptable > 0 && len(seeds.MissingKeys) == 0
	result.Keys = describeKeys(p.auth.DataKeyIDs(), seeds.MissingKeys)

	return result.Check()
}

// logFactorFindings logs if the authenticator apps of users do not work.
func (a *App) logFactorFindings(ctx context.Context) {
	for _, finding := range a.checkFactors(ctx) {
		if finding.Level == doctor.Problem && ctx.Err() == nil {
			a.log.Error("second factors: "+finding.Message, "fix", finding.Fix)
		}
	}
}
