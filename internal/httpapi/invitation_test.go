package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/testkit"
	"latchkey/internal/token"
	"latchkey/internal/user"
)

// inviteOnly starts a server on which only invited users can register.
func inviteOnly(t *testing.T, o apitest.Options) *apitest.Server {
	t.Helper()

	o.Registration = auth.RegistrationPolicy{Mode: auth.InviteRegistration}
	o.Mail = &apitest.Outbox{}

	return apitest.New(t, o)
}

func acceptance(email, token string) map[string]any {
	return map[string]any{"name": "Ann", "email": email, "password": apitest.Password, "invitation": token}
}

// The link in the email of an invitation creates an account whose email is verified by its owner.
func TestInvitationByEmail(t *testing.T) {
	t.Parallel()

	s := inviteOnly(t, apitest.Options{RequireVerifiedEmail: true})
	testkit.NoError(t, s.Auth.Invite(t.Context(), "ann@example.com", "Ann O'Brien"))
	mails := s.SentMails()
	if len(mails) != 1 || !strings.Contains(mails[0].Text, "&email=ann%40example.com&name=Ann+O%27Brien") {
		t.Fatalf("emails: got %v, want one with the email and the name in the link", mails)
	}
	token := s.Outbox.Token(t, "ann@example.com", "accept-invitation")

	stranger := s.NewClient()
	stranger.Do("POST", "/auth/register", acceptance("bob@example.com", token)).WantCode(400, "invalid_token")
	ann := s.NewClient()
	ann.Do("POST", "/auth/register", acceptance("Ann@Example.com", token)).Want(http.StatusCreated)
	account := s.Account("ann@example.com")
	if !account.EmailVerified || !account.OwnerConfirmed {
		t.Errorf("account: got %+v, want an email verified by its owner", account)
	}
	ann.Do("GET", "/auth/me", nil).Want(200)
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("further emails: got %d, want none", n)
	}

	var events []any
	for _, e := range s.TakeEvents() {
		events = append(events, e["name"])
	}
	if len(events) != 2 || events[0] != "invitation_failed" || events[1] != "registered" {
		t.Errorf("events: got %v, want invitation_failed and registered", events)
	}
	if dump := s.DumpMongo(); strings.Contains(dump, `"usedBy"`) {
		t.Errorf("the invitation still exists: %s", dump)
	}
}

// A new password that is refused, or an email that is taken, does not use up the invitation.
func TestInvitationSurvivesFailure(t *testing.T) {
	t.Parallel()

	s := inviteOnly(t, apitest.Options{Rules: auth.NewRules(true, "", nil)})
	token := invite(s, "ann@example.com")
	weak := acceptance("ann@example.com", token)
	weak["password"] = "password123"
	s.NewClient().Do("POST", "/auth/register", weak).WantCode(400, "weak_password")

	other := s.CreateUser("ann@example.com")
	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", token)).WantCode(409, "email_taken")
	s.DeleteAccount(other.ID)

	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", token)).Want(http.StatusCreated)
}

// Of several concurrent uses of an invitation, exactly one creates an account. An invitation that is
// withdrawn at the same time is either used or not.
func TestInvitationRace(t *testing.T) {
	t.Parallel()

	s := inviteOnly(t, apitest.Options{})
	for range 10 {
		token := invite(s, "ann@example.com")
		const users = 5
		statuses := testkit.Concurrently(users, func(i int) int {
			if i == 0 {
				_, _ = s.Users.RemoveInvitation(t.Context(), "ann@example.com")

				return 0
			}

			return s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", token)).Status
		})

		created := 0
		for _, status := range statuses {
			switch status {
			case http.StatusCreated:
				created++
			case 0, http.StatusBadRequest, http.StatusConflict, http.StatusServiceUnavailable:
			default:
				t.Errorf("status: got %d", status)
			}
		}

		found, err := s.Users.ByEmails(t.Context(), []user.Email{"ann@example.com"})
		testkit.NoError(t, err)
		if created > 1 || created != len(found) {
			t.Fatalf("created: got %d accounts in %v, %d exist; want at most one", created, statuses, len(found))
		}
		for _, u := range found {
			s.DeleteAccount(u.ID)
		}
		s.ResetLimits()
	}
}

// If a registration is interrupted, its invitation stays reserved for a moment. Meanwhile the link is not
// reported as invalid, or its owner would request another one.
func TestInterruptedInvitation(t *testing.T) {
	t.Parallel()

	s := inviteOnly(t, apitest.Options{})
	link := invite(s, "ann@example.com")
	testkit.NoError(t, s.Users.TakeInvitation(t.Context(), "ann@example.com", token.Hash(link), user.NewID()))

	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", link)).WantCode(503, "user_store_unavailable")
	s.NewClient().Do("POST", "/auth/register", acceptance("bob@example.com", link)).WantCode(400, "invalid_token")

	other := s.CreateUser("ann@example.com")
	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", link)).WantCode(409, "email_taken")
	s.DeleteAccount(other.ID)

	s.Advance(time.Minute + time.Second)
	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", link)).Want(http.StatusCreated)
}

// A used invitation that could not be removed does not create the account again after its deletion. The
// invitation of somebody whose email another user has entered stays.
func TestInvitationOfDeletedAccount(t *testing.T) {
	t.Parallel()

	s := inviteOnly(t, apitest.Options{})
	link := invite(s, "ann@example.com")
	invitations := s.Database().Collection("invitations")
	stored, err := invitations.FindOne(t.Context(), bson.D{}).Raw()
	testkit.NoError(t, err)

	ann := s.NewClient()
	ann.Do("POST", "/auth/register", acceptance("ann@example.com", link)).Want(http.StatusCreated)
	_, err = invitations.InsertOne(t.Context(), stored)
	testkit.NoError(t, err)
	ann.Do("DELETE", "/profile", nil).Want(http.StatusNoContent)
	s.NewClient().Do("POST", "/auth/register", acceptance("ann@example.com", link)).WantCode(400, "invalid_token")

	link = invite(s, "bob@example.com")
	s.CreateUser("bob@example.com")
	signInTo(s, "bob@example.com").Do("DELETE", "/profile", nil).Want(http.StatusNoContent)
	s.NewClient().Do("POST", "/auth/register", acceptance("bob@example.com", link)).Want(http.StatusCreated)
}
