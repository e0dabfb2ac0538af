package app

import (
	"context"
	"errors"

	"latchkey/internal/user"
)

// prepareEmails creates the unique index on emails, and converts emails that another application
// has stored in another spelling to the canonical one. Until it has succeeded, nobody can register.
func (a *App) prepareEmails(ctx context.Context) error {
	report, err := a.users.Prepare(ctx)

	if report.Fixed > 0 {
		a.log.Info("stored emails made canonical", "count", report.Fixed)
	}
	if err != nil {
		a.logUnprepared(ctx, err,
			"cannot create the unique email index; registration is disabled",
			"cannot check the spelling of stored emails; registration is disabled")

		return err // the report is incomplete
	}

	if len(report.Strays) > 0 {
		a.log.Warn("accounts share an email in different spellings; the accounts in userIds cannot log in",
			"count", len(report.Strays), "userIds", firstFew(report.Strays))
	}
	if len(report.Invalid) > 0 {
		a.log.Warn("accounts have an unsupported email and cannot log in with it",
			"count", len(report.Invalid), "userIds", firstFew(report.Invalid))
	}

	return nil
}

// prepareIdentities creates the indexes of linked external accounts. Until it has succeeded,
// nobody can link a provider.
func (a *App) prepareIdentities(ctx context.Context) error {
	err := a.users.EnsureIdentityIndexes(ctx)
	if err != nil {
		const message = "cannot create the unique indexes of identities; linking providers is disabled"
		a.logUnprepared(ctx, err, message, message)
	}

	return err
}

// logUnprepared logs err, with the message noIndex if an operator has to fix an index, and with the
// message unavailable otherwise.
func (a *App) logUnprepared(ctx context.Context, err error, noIndex, unavailable string) {
	var missing *user.IndexError
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &missing):
		a.log.Error(noIndex, "error", err, "fix", mongoFix(err))
	default:
		a.log.Warn(unavailable+"; retrying", "error", err, "fix", mongoFix(err))
	}
}

// firstFew returns at most the first ten IDs, to keep log lines short.
func firstFew(ids []string) []string { return ids[:min(len(ids), 10)] }
