package auth

import (
	"context"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// sentMails is a mail.Sender that records the emails.
type sentMails []mail.Message

func (s *sentMails) Send(_ context.Context, m mail.Message) error {
	*s = append(*s, m)

	return nil
}

// An email with a link goes to the email that is stored in the account, or is not sent. The queue
// is in Redis, where an attacker with write access could put their own email into a job, and then
// use the link to reset a password or to confirm a stranger's email.
func TestQueueDoesNotChooseRecipient(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	s.options.BaseURL = "https://app.example.com"
	s.options.ResetMaxAge = time.Hour
	s.options.VerifyMaxAge = time.Hour
	s.options.InvitationMaxAge = time.Hour
	ann := register(t, s, "ann@example.com").User
	change := user.OneTimeToken{RequestID: "request", Email: "new@example.com", Expires: time.Now().Add(time.Hour)}
	testkit.NoError(t, s.users.PutToken(ctx, ann.ID, ann.Email, user.EmailChangeToken, change))

	testkit.NoError(t, s.storeInvitation(ctx, "bob@example.com", ""))
	testkit.NoError(t, s.storeInvitation(ctx, "withdrawn@example.com", ""))
	_, err := s.users.RemoveInvitation(ctx, "withdrawn@example.com")
	testkit.NoError(t, err)

	const eve = "eve@example.com"
	for name, tc := range map[string]struct {
		job  mail.Job
		want string // the recipient; "" if nothing is sent
	}{
		"verification":              {mail.Job{Kind: mail.VerifyEmail, UserID: ann.ID, To: "ann@example.com"}, "ann@example.com"},
		"verification for Eve":      {mail.Job{Kind: mail.VerifyEmail, UserID: ann.ID, To: eve}, ""},
		"reset":                     {mail.Job{Kind: mail.ResetPassword, To: "ann@example.com"}, "ann@example.com"},
		"reset for Eve":             {mail.Job{Kind: mail.ResetPassword, UserID: ann.ID, To: eve}, ""},
		"change":                    {mail.Job{Kind: mail.ConfirmEmail, UserID: ann.ID, RequestID: "request", To: "new@example.com", NewEmail: "new@example.com"}, "new@example.com"},
		"change for Eve":            {mail.Job{Kind: mail.ConfirmEmail, UserID: ann.ID, RequestID: "request", To: eve, NewEmail: eve}, "new@example.com"},
		"change without a request":  {mail.Job{Kind: mail.ConfirmEmail, UserID: ann.ID, To: eve, NewEmail: eve}, ""},
		"invitation":                {mail.Job{Kind: mail.Invitation, To: "bob@example.com"}, "bob@example.com"},
		"invitation for Eve":        {mail.Job{Kind: mail.Invitation, To: eve}, ""},
		"withdrawn invitation":      {mail.Job{Kind: mail.Invitation, To: "withdrawn@example.com"}, ""},
		"change of another request": {mail.Job{Kind: mail.ConfirmEmail, UserID: ann.ID, RequestID: "x", To: eve, NewEmail: eve}, ""},
	} {
		var sent sentMails
		s.options.Sender = &sent
		testkit.NoError(t, s.deliver(ctx, tc.job))

		switch {
		case tc.want == "" && len(sent) > 0:
			t.Errorf("%s: got an email to %s, want none", name, sent[0].To)
		case tc.want != "" && (len(sent) != 1 || sent[0].To != tc.want || !strings.Contains(sent[0].Text, "#token=")):
			t.Errorf("%s: got emails %v, want one with a link to %s", name, sent, tc.want)
		case tc.want != "" && strings.Contains(sent[0].Text, eve):
			t.Errorf("%s: got text %s, want it without Eve's email", name, sent[0].Text)
		}
	}
}
