package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
	"latchkey/internal/user"
)

const resetFactorsHelp = `Remove all authenticator apps, recovery codes and trusted devices, and end all sessions of an account.

Use it when a user has lost both the phone and the recovery codes. First make sure that the person asking
is the owner: knowing the password or reading the mailbox is no proof. Afterwards, the password alone is
enough to log in. The owner gets an email with the reason.`

func newResetFactors(p *program) *cobra.Command {
	var reason string

	cmd := &cobra.Command{
		Use:     "reset-factors USER --reason TEXT",
		Short:   "Remove the second factors and end all sessions of an account; asks for confirmation",
		Long:    resetFactorsHelp,
		Example: `  latchkey users reset-factors ann@example.com --reason "Lost phone, identity checked by video call"`,
		Args:    arguments("USER"),
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := app.ParseReason(reason)
			if err != nil {
				return &usageError{text: "--reason: " + err.Error(), command: cmd.CommandPath()}
			}
			reason = parsed

			return nil
		},
		RunE: p.onStores(func(ctx context.Context, c *cli, args []string) error {
			return resetFactors(ctx, c, args[0], reason)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that tells the owner why, in one line of at most 200 characters; required")

	return addYes(cmd)
}

func resetFactors(ctx context.Context, c *cli, ref, reason string) error {
	found, err := c.Find(ctx, ref)
	if err != nil {
		return err
	}

	name := emailOrID(found.User)
	hasFactors := found.HasFactor() || len(found.RecoveryCodes) > 0 || found.Unreadable != ""
	if !hasFactors {
		return fmt.Errorf("%s has no second factor; nothing was changed", name)
	}
	if err := c.confirm(ctx, fmt.Sprintf("Remove all second factors and trusted devices of %s (%s) and end all sessions?", name, found.Name)); err != nil {
		return err
	}

	u, n, err := c.ResetFactors(ctx, found.ID, reason)
	if err == nil && !c.SendsEmails() {
		_, _ = fmt.Fprintln(c.messages, "SMTP_URL is not set, so the owner gets no email")
	}

	return c.ended("Removed all second factors of "+emailOrID(u), n, err)
}

// factorView is an authenticator app in JSON.
type factorView struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	LastUsed  time.Time `json:"lastUsed,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"`
}

// factorsView is how an account is protected by second factors, in JSON.
type factorsView struct {
	Factors        []factorView `json:"factors"`
	RecoveryCodes  int          `json:"recoveryCodes"`
	TrustedDevices int          `json:"trustedDevices"`
}

// factorsOf returns the second factors of an account. The seeds and codes must not be shown.
func (c *cli) factorsOf(u user.User) factorsView {
	view := factorsView{
		Factors:        []factorView{},
		RecoveryCodes:  len(u.RecoveryCodes),
		TrustedDevices: c.TrustedDevices(u),
	}
	for _, f := range u.ListFactors() {
		view.Factors = append(view.Factors, factorView{
			ID:        f.ID,
			Type:      f.Kind,
			Name:      f.Name,
			CreatedAt: f.CreatedAt,
			LastUsed:  f.LastUsed,
			Disabled:  f.Disabled(),
		})
	}

	return view
}

// fields returns the pairs of names and values that show the factors to people.
func (v factorsView) fields() []any {
	if len(v.Factors) == 0 {
		return []any{"second factors", "none"}
	}

	var pairs []any
	for _, f := range v.Factors {
		text := fmt.Sprintf("%s %q, added %s, last used %s", f.Type, f.Name, timestamp(f.CreatedAt), timestamp(f.LastUsed))
		if f.Disabled {
			text += ", disabled after too many wrong codes"
		}
		pairs = append(pairs, "second factor", text)
	}

	return append(pairs, "recovery codes left", v.RecoveryCodes, "trusted devices", v.TrustedDevices)
}

const rekeyHelp = `Encrypt the secrets of all authenticator apps with the first key of DATA_KEY.

Run it after you have added a new first key to DATA_KEY and restarted all servers with it. Servers can keep
running. When the command succeeds, the other keys are no longer needed and can be removed from DATA_KEY.
Keep a copy of them for as long as you may restore an older backup of MongoDB.

If a secret cannot be decrypted, the command lists the IDs of the affected accounts and exits with 1.`

func newRekey(p *program) *cobra.Command {
	return addJSON(&cobra.Command{
		Use:   "rekey",
		Short: "Encrypt the secrets of authenticator apps with the first key of DATA_KEY",
		Long:  rekeyHelp,
		Args:  arguments(),
		RunE:  p.onStores(rekey),
	})
}

func rekey(ctx context.Context, c *cli, _ []string) error {
	reported := time.Now()
	done, err := c.Rekey(ctx, func(accounts int) {
		if time.Since(reported) < time.Second {
			return
		}

		reported = time.Now()
		_, _ = fmt.Fprintln(c.messages, count(accounts, "account"), "done so far")
	})
	if err != nil && done.Outdated > 0 {
		err = fmt.Errorf("failed after re-encrypting %s; run the command again: %w", count(done.Outdated, "secret"), err)
	}
	if err != nil {
		return err
	}

	if err := c.printRekeyed(done); err != nil {
		return err
	}
	if done.Undecryptable > 0 {
		return fmt.Errorf("%s cannot be decrypted: %s", count(done.Undecryptable, "secret"), c.DataKeys(done.MissingKeys))
	}

	return nil
}

// printRekeyed prints the result of rekey.
func (c *cli) printRekeyed(done app.Rekeyed) error {
	if c.json {
		return c.printJSON(struct {
			Reencrypted   int      `json:"reencrypted"`
			Current       int      `json:"current"`
			Undecryptable int      `json:"undecryptable"`
			Users         []string `json:"users"`
		}{
			Reencrypted:   done.Outdated,
			Current:       done.Current,
			Undecryptable: done.Undecryptable,
			Users:         append([]string{}, done.Users...),
		})
	}

	return c.fields(
		"re-encrypted", done.Outdated,
		"already current", done.Current,
		"undecryptable", undecryptable(done),
	)
}

// undecryptable returns the number of secrets that cannot be decrypted, with their accounts.
func undecryptable(done app.Rekeyed) string {
	if done.Undecryptable == 0 {
		return "0"
	}

	return fmt.Sprintf("%d (accounts: %s)", done.Undecryptable, strings.Join(done.Users, " "))
}
