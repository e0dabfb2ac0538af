package mail

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// Nothing is said in clear to a server that is elsewhere, and nothing to one that is
// not who it says to be.
func TestSendTrust(t *testing.T) {
	t.Parallel()
	plain, secure, implicit := newMailServer(t, serverOptions{}), newMailServer(t, serverOptions{tls: true}), newMailServer(t, serverOptions{implicit: true})
	elsewhere := func(url string, server *mailServer) *SMTP {
		s := newSMTP(t, url, server.roots)
		s.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.addr)
		}
		return s
	}
	for name, s := range map[string]*SMTP{
		"no STARTTLS":             elsewhere("smtp://"+credentials+"mail.test", plain),
		"no STARTTLS, no user":    elsewhere("smtp://mail.test", plain),
		"unknown CA":              newSMTP(t, "smtp://"+credentials+secure.addr, nil),
		"unknown CA, implicit":    newSMTP(t, "smtps://"+credentials+implicit.addr, nil),
		"another CA":              newSMTP(t, "smtp://"+credentials+secure.addr, implicit.roots),
		"wrong name":              elsewhere("smtp://"+credentials+"mail.test", secure),
		"wrong name, implicit":    elsewhere("smtps://"+credentials+"mail.test", implicit),
		"TLS to one that has not": elsewhere("smtps://"+credentials+"mail.test", plain),
	} {
		for _, err := range []error{s.Send(t.Context(), message(t)), s.Check(t.Context())} {
			if err == nil || errors.Is(err, ErrRejected) || strings.Contains(err.Error(), password) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, server := range []*mailServer{plain, secure, implicit} {
		if len(server.got())+len(server.logins) > 0 {
			t.Errorf("%d messages, logins by %v", len(server.got()), server.logins)
		}
	}
	// The two ways that show a password are go-mail's to refuse, should it come to that.
	s := elsewhere("smtp://"+credentials+"mail.test", plain)
	s.encryption = inClear
	if err := s.Check(t.Context()); err == nil || len(plain.logins) > 0 {
		t.Errorf("a login in clear: %v, by %v", err, plain.logins)
	}
}

// What a mail server refuses for good is a rejection; what an operator can mend, or
// time, is none. Nothing is quoted that the server quotes.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		command  string
		code     int
		rejected bool
	}{
		{"RCPT", 550, true}, {"RCPT", 553, true}, {"RCPT", 501, true}, {"DATA", 554, true}, {"DATA", 552, true},
		{"RCPT", 450, false}, {"RCPT", 421, false}, {"DATA", 451, false}, {"MAIL", 451, false},
		{"MAIL", 550, false}, {"MAIL", 530, false}, {"RCPT", 530, false}, {"RCPT", 503, false},
		{"AUTH", 535, false}, {"AUTH", 454, false}, {"AUTH", 550, false},
	} {
		server := newMailServer(t, serverOptions{})
		s := newSMTP(t, "smtp://"+credentials+server.addr, nil)
		m := message(t)
		server.set(tt.command, tt.code, "no <"+m.To+"> "+password+" "+letter(ResetPassword).Link)
		err := s.Send(t.Context(), m)
		if err == nil || errors.Is(err, ErrRejected) != tt.rejected {
			t.Errorf("%s %d: %v", tt.command, tt.code, err)
			continue
		}
		for _, secret := range []string{m.To, "ada", password, "token", "https:"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s %d: %v quotes %s", tt.command, tt.code, err, secret)
			}
		}
		server.set(tt.command, 0, "")
		if err := s.Send(t.Context(), m); err != nil || len(server.got()) != 1 {
			t.Errorf("%s %d: afterwards %v", tt.command, tt.code, err)
		}
	}
	server := newMailServer(t, serverOptions{})
	wrong := newSMTP(t, "smtp://mailer:secret@"+server.addr, nil)
	if err := wrong.Check(t.Context()); err == nil || errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "535 5.7.8 to AUTH") {
		t.Errorf("a wrong password: %v", err)
	}
	for _, to := range []string{"", "ada", "ada@", "@example.com", "Ada <ada@example.com>", "ada@example.com, eve@example.com", "ada@example.com>\r\nRCPT TO:<eve@example.com",
		"ädä@example.com", `"a b"@example.com`, "ada@exa mple.com", "a@b@example.com"} {
		m := message(t)
		m.To = to
		if err := newSMTP(t, "smtp://"+server.addr, nil).Send(t.Context(), m); !errors.Is(err, ErrRejected) || strings.Contains(err.Error(), "ada") {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if len(server.got()) != 0 {
		t.Errorf("%d messages to nobody", len(server.got()))
	}
}

// A server that hangs holds nobody longer than the limit, wherever it hangs; and where
// it hangs after it has taken the message, the message is sent.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	const limit = 150 * time.Millisecond
	const bound = limit + byeTimeout + 2*time.Second
	starts := func(prefix string) func(net.Conn, []byte) bool {
		return func(_ net.Conn, chunk []byte) bool { return bytes.HasPrefix(chunk, []byte(prefix)) }
	}
	handshake := []byte{22, 3, 1}
	for name, tt := range map[string]struct {
		faults   storetest.Faults
		tls      bool
		implicit bool
		sent     bool
	}{
		"connection":  {faults: storetest.Faults{Accept: func(net.Conn) bool { return true }}},
		"greeting":    {faults: storetest.Faults{Reply: func(net.Conn, []byte) bool { return true }}},
		"EHLO":        {faults: storetest.Faults{Command: starts("EHLO")}},
		"STARTTLS":    {faults: storetest.Faults{Command: starts("STARTTLS")}, tls: true},
		"handshake":   {faults: storetest.Faults{Command: starts(string(handshake))}, tls: true},
		"implicitTLS": {faults: storetest.Faults{Command: starts(string(handshake))}, implicit: true},
		"AUTH":        {faults: storetest.Faults{Command: starts("AUTH")}},
		"MAIL":        {faults: storetest.Faults{Command: starts("MAIL")}},
		"RCPT":        {faults: storetest.Faults{Command: starts("RCPT")}},
		"DATA":        {faults: storetest.Faults{Command: starts("DATA")}},
		"message": {faults: storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
			return bytes.HasSuffix(chunk, []byte("\r\n.\r\n"))
		}}},
		"QUIT": {faults: storetest.Faults{Command: starts("QUIT")}, sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newMailServer(t, serverOptions{tls: tt.tls, implicit: tt.implicit})
			proxy := storetest.NewProxy(t, server.addr)
			proxy.Set(tt.faults)
			scheme := "smtp"
			if tt.implicit {
				scheme = "smtps"
			}
			s := newSMTP(t, scheme+"://"+credentials+proxy.Addr, server.roots)
			if s.Timeout = limit; tt.sent {
				s.Timeout = 2 * bound
			}
			start := time.Now()
			err := s.Send(t.Context(), message(t))
			if (err == nil) != tt.sent || errors.Is(err, ErrRejected) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > bound {
				t.Errorf("it took %v, the limit is %v", took, limit)
			}
			if n := len(server.got()); n == 1 != tt.sent {
				t.Errorf("%d messages", n)
			}
			// Who stops waiting is not held either.
			s.Timeout = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			defer time.AfterFunc(limit, cancel).Stop()
			if err := s.Send(ctx, message(t)); err == nil && !tt.sent {
				t.Error("cancelled, and no error")
			}
		})
	}
	dead := newSMTP(t, "smtp://127.0.0.1:1", nil)
	if err := dead.Send(t.Context(), message(t)); err == nil || errors.Is(err, ErrRejected) {
		t.Errorf("nobody there: %v", err)
	}
}

// Half a message, as of a connection that breaks, is none.
func TestBrokenMessage(t *testing.T) {
	t.Parallel()
	server := newMailServer(t, serverOptions{})
	proxy := storetest.NewProxy(t, server.addr)
	s := newSMTP(t, "smtp://"+proxy.Addr, nil)
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if !bytes.Contains(chunk, []byte("MIME-Version")) {
			return false
		}
		proxy.Refuse()
		return true
	}})
	if err := s.Send(t.Context(), message(t)); err == nil || errors.Is(err, ErrRejected) || len(server.got()) != 0 {
		t.Errorf("%v, and %d messages", err, len(server.got()))
	}
	proxy.Restore(t)
	if err := s.Send(t.Context(), message(t)); err != nil || len(server.got()) != 1 {
		t.Errorf("%v, and %d messages", err, len(server.got()))
	}
}
