package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// linkIn returns the parameters in the fragment of a link, which is the last line of a text.
func linkIn(t *testing.T, text string) (page string, params url.Values) {
	t.Helper()

	link, err := url.Parse(strings.TrimSpace(text))
	testkit.NoError(t, err)
	params, err = url.ParseQuery(link.EscapedFragment())
	testkit.NoError(t, err)
	link.Fragment = ""

	return link.String(), params
}

// An operator invites people by email or with a link, lists the invitations and withdraws them.
func TestInvitations(t *testing.T) {
	t.Parallel()

	s := newMailSetup(t, "REGISTRATION=invite", "REGISTRATION_DOMAINS=example.org")
	addr, _, _ := start(t, s.environ)
	o := &operator{t, s.environ, "http://" + addr}

	o.mustRun("^no open invitations\n$", "", "users", "invitations")
	o.mustRun("^Invited ann@example.com; ", "", "users", "invite", "Ann@Example.com", "--name", "Ann Smith")
	testkit.Eventually(t, "the email", func() bool { return len(s.mails.Messages()) == 1 })
	mail := s.mails.Messages()[0]
	if mail.To != "ann@example.com" || !strings.Contains(mail.Text(), "https://app.example.com/accept-invitation#token=") {
		t.Errorf("email: got %s to %s, want a link", mail.Text(), mail.To)
	}

	page, params := linkIn(t, o.mustRun("^https://", "", "users", "invite", "bob@example.com", "--print-link", "--name", "Bob & Co"))
	if page != "https://app.example.com/accept-invitation" || params.Get("email") != "bob@example.com" || params.Get("name") != "Bob & Co" {
		t.Errorf("link: got %s with %v", page, params)
	}
	o.mustRun(`(?s)bob@example.com +Bob & Co.*ann@example.com +Ann Smith`, "", "users", "invitations")

	o.mustRun("^Invitation of ann@example.com withdrawn", "", "users", "uninvite", "ann@example.com")
	o.wantError("^ann@example.com is not invited$", "", "users", "uninvite", "ann@example.com")
	out := o.mustRun(`"expiresAt"`, "", "users", "invitations", "--json")
	if strings.Contains(out, "ann@example.com") || strings.Contains(out, "hash") {
		t.Errorf("invitations: got %s, want that of Bob, without its token", out)
	}

	register := func(token string) response {
		return send(t, "POST", o.base+"/auth/register", `{"name":"Bob","email":"bob@example.com","password":"a long password","invitation":"`+token+`"}`)
	}
	if got := codeOf(t, register(params.Get("token")+"x")); got != "400 invalid_token" {
		t.Errorf("wrong token: got %s", got)
	}
	if got := codeOf(t, register(params.Get("token"))); got != "201 " {
		t.Errorf("token: got %s", got)
	}
	o.mustRun(`bob@example.com \(verified\)`, "", "users", "show", "bob@example.com")
	o.wantError("^bob@example.com already has an account$", "", "users", "invite", "bob@example.com")
	o.mustRun("^no open invitations\n$", "", "users", "invitations")
}

// An invitation that cannot be sent or accepted is refused.
func TestUselessInvitations(t *testing.T) {
	t.Parallel()

	environ := environment(t)
	for name, tc := range map[string]struct {
		settings []string
		args     []string
		want     string
	}{
		"no mail server": {nil, nil, "^SMTP_URL is not set, .*--print-link"},
		"no page":        {nil, []string{"--print-link"}, "^PUBLIC_URL is not set"},
		"closed":         {[]string{"REGISTRATION=closed"}, nil, "^nobody can accept an invitation with REGISTRATION=closed"},
		"bad name":       {nil, []string{"--name", "a\tb"}, "^name must have"},
	} {
		o := &operator{t, append(environ[:len(environ):len(environ)], tc.settings...), ""}
		o.wantError(tc.want, "", append([]string{"users", "invite", "ann@example.com"}, tc.args...)...)
		if t.Failed() {
			t.Log(name)
		}
	}
}

// observeInvitations observes INVITATION_MAX_AGE.
func observeInvitations(t *testing.T, o *observer) {
	environ := environment(t, "REGISTRATION=invite", "INVITATION_MAX_AGE=77m", "PUBLIC_URL=https://app.example.com")
	_, err := command(environ, "", "users", "invite", "ann@example.com", "--print-link")
	testkit.NoError(t, err)
	out, err := command(environ, "", "users", "invitations", "--json")
	testkit.NoError(t, err)

	listed := decode[[]invitationView](t, response{text: out})
	o.equal(t, "INVITATION_MAX_AGE", listed[0].ExpiresAt.Sub(listed[0].CreatedAt).Round(time.Minute), 77*time.Minute)
}
