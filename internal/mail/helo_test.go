package mail

import (
	"errors"
	"net"
	"slices"
	"testing"

	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

// A strict relay, which accepts only fully qualified names and IPs in EHLO, accepts emails from any
// machine. The host name of a container is not fully qualified.
func TestHeloName(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct{ hostname, setting, want string }{
		{hostname: "vm", want: "[127.0.0.1]"},
		{hostname: "", want: "[127.0.0.1]"},
		{hostname: "0f1e2d3c4b5a", want: "[127.0.0.1]"},
		{hostname: "my_host.example.com", want: "[127.0.0.1]"},
		{hostname: "10.0.0.5", want: "[127.0.0.1]"},
		{hostname: "vm.", want: "[127.0.0.1]"},
		{hostname: "a b.example.com\r\nX", want: "[127.0.0.1]"},
		{hostname: "latchkey-1.example.com", want: "latchkey-1.example.com"},
		{hostname: "vm", setting: "mx.example.com", want: "mx.example.com"},
		{hostname: "latchkey-1.example.com", setting: "mx.example.com", want: "mx.example.com"},
	} {
		server := mailtest.New(t, mailtest.Options{})
		server.FailAt(mailtest.Hello, mailtest.RefuseBareNames)

		s := newSMTP(t, "smtp://"+server.Addr, nil)
		s.HeloName = tt.setting
		s.hostname = func() (string, error) {
			if tt.hostname == "" {
				return "", errors.New("no name")
			}

			return tt.hostname, nil
		}

		testkit.NoError(t, s.Check(t.Context()))
		testkit.NoError(t, s.Send(t.Context(), message(t)))
		if got := server.Messages()[0].Helo; got != tt.want {
			t.Errorf("host name %q, setting %q: got EHLO %s, want %s", tt.hostname, tt.setting, got, tt.want)
		}
	}
}

// The error for a rejected EHLO contains the reply and our name. The email is retried later.
func TestHeloRejected(t *testing.T) {
	t.Parallel()

	server := mailtest.New(t, mailtest.Options{})
	server.FailAt(mailtest.Hello, mailtest.RefuseBareNames)
	s := newSMTP(t, "smtp://"+server.Addr, nil)
	s.HeloName = "vm"

	const want = "mail server replied 504 5.5.2 to EHLO (as vm)"
	if err := s.Send(t.Context(), message(t)); err == nil || err.Error() != want || errors.Is(err, ErrRejected) {
		t.Errorf("Send: got error %v, want %s", err, want)
	}
}

func TestIPLiteral(t *testing.T) {
	t.Parallel()

	for want, local := range map[string]net.Addr{
		"[192.0.2.1]":           &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1},
		"[IPv6:2001:db8::1]":    &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1},
		"[IPv6:fe80::1]":        &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: "eth0"},
		"[127.0.0.1]":           &net.UnixAddr{Name: "/run/x", Net: "unix"},
		"[198.51.100.7]":        &net.TCPAddr{IP: net.ParseIP("::ffff:198.51.100.7"), Port: 1},
		"[IPv6:2001:db8::ff:1]": &net.TCPAddr{IP: net.ParseIP("2001:db8::ff:1")},
	} {
		if got := ipLiteral(local); got != want {
			t.Errorf("%v: got %s, want %s", local, got, want)
		}
	}
}

// Only permanent replies about the recipient or the message reject the email for good. After any
// other reply it is retried, because an operator may fix the cause.
func TestIsRejection(t *testing.T) {
	t.Parallel()

	rejections := []int{501, 550, 551, 552, 553, 554, 555, 571}
	steps := []string{stepConnect, stepHello, stepStartTLS, stepAuth, stepFrom, stepTo, stepData, stepMessage, stepNoop}
	for _, step := range steps {
		aboutMessage := slices.Contains([]string{stepTo, stepData, stepMessage}, step)
		for _, code := range []int{0, 200, 250, 354, 421, 450, 451, 452, 454, 500, 502, 503, 504, 521, 530, 534, 535, 538, 600} {
			if isRejection(step, code) {
				t.Errorf("reply %d to %s: got a rejection, want another attempt", code, step)
			}
		}

		for _, code := range rejections {
			if got := isRejection(step, code); got != aboutMessage {
				t.Errorf("reply %d to %s: got a rejection %t, want %t", code, step, got, aboutMessage)
			}
		}
	}
}
