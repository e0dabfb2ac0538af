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
	"latchkey/internal/mail/mailtest"
)

// Nothing is sent unencrypted to a remote server, or to a server with an invalid certificate.
func TestSendRequiresTLS(t *testing.T) {
	t.Parallel()

	plainServer := mailtest.New(t, mailtest.Options{})
	startTLSServer := mailtest.New(t, mailtest.Options{StartTLS: true})
	implicitServer := mailtest.New(t, mailtest.Options{ImplicitTLS: true})
	newRemote := func(url string, server *mailtest.Server) *SMTP {
		s := newSMTP(t, url, server.Roots)
		s.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Addr)
		}

		return s
	}

	for name, s := range map[string]*SMTP{
		"no STARTTLS":                newRemote("smtp://"+credentials+"mail.test", plainServer),
		"no STARTTLS, no user":       newRemote("smtp://mail.test", plainServer),
		"unknown CA":                 newSMTP(t, "smtp://"+credentials+startTLSServer.Addr, nil),
		"unknown CA, implicit":       newSMTP(t, "smtps://"+credentials+implicitServer.Addr, nil),
		"another CA":                 newSMTP(t, "smtp://"+credentials+startTLSServer.Addr, implicitServer.Roots),
		"wrong name":                 newRemote("smtp://"+credentials+"mail.test", startTLSServer),
		"wrong name, implicit":       newRemote("smtps://"+credentials+"mail.test", implicitServer),
		"implicit TLS, plain server": newRemote("smtps://"+credentials+"mail.test", plainServer),
	} {
		for _, err := range []error{s.Send(t.Context(), message(t)), s.Check(t.Context())} {
			if err == nil || errors.Is(err, ErrRejected) || strings.Contains(err.Error(), mailtest.Password) {
				t.Errorf("%s: got error %v, want one that does not wrap ErrRejected or contain the password",
					name, err)
			}
		}
	}

	for _, server := range []*mailtest.Server{plainServer, startTLSServer, implicitServer} {
		if len(server.Messages())+len(server.Logins()) > 0 {
			t.Errorf("got %d messages and logins %v at the server, want none",
				len(server.Messages()), server.Logins())
		}
	}

	// PLAIN and LOGIN are refused without TLS even if the encryption is misconfigured.
	s := newRemote("smtp://"+credentials+"mail.test", plainServer)
	s.encryption = noTLS
	if err := s.Check(t.Context()); err == nil || len(plainServer.Logins()) > 0 {
		t.Errorf("Check without TLS: got error %v and logins %v, want an error and no login",
			err, plainServer.Logins())
	}
}

// Permanent rejections of the message or its recipient are reported as ErrRejected, but failures that
// are temporary or that an operator can fix are not. Errors do not quote the server's replies.
func TestRejections(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct {
		step     mailtest.Step
		code     int
		rejected bool
	}{
		{"RCPT", 550, true}, {"RCPT", 553, true}, {"RCPT", 501, true}, {"DATA", 554, true}, {"DATA", 552, true},
		{"RCPT", 450, false}, {"RCPT", 421, false}, {"DATA", 451, false}, {"MAIL", 451, false},
		{"MAIL", 550, false}, {"MAIL", 530, false}, {"RCPT", 530, false}, {"RCPT", 503, false},
		{"AUTH", 535, false}, {"AUTH", 454, false}, {"AUTH", 550, false},
	} {
		server := mailtest.New(t, mailtest.Options{})
		s := newSMTP(t, "smtp://"+credentials+server.Addr, nil)
		m := message(t)
		server.FailAt(tt.step, mailtest.Reply(tt.code, "no <"+m.To+"> "+mailtest.Password+" "+sample(ResetPassword).Link))
		err := s.Send(t.Context(), m)
		if err == nil || errors.Is(err, ErrRejected) != tt.rejected {
			t.Errorf("Send with reply %d to %s: got error %v, want one that wraps ErrRejected: %t",
				tt.code, tt.step, err, tt.rejected)
			continue
		}

		for _, secret := range []string{m.To, "ada", mailtest.Password, "token", "https:"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("Send with reply %d to %s: got error %v, want it not to contain %q",
					tt.code, tt.step, err, secret)
			}
		}

		server.FailAt(tt.step, nil)
		if err := s.Send(t.Context(), m); err != nil || len(server.Messages()) != 1 {
			t.Errorf("Send after reply %d to %s: got error %v and %d messages, want no error and 1",
				tt.code, tt.step, err, len(server.Messages()))
		}
	}

	server := mailtest.New(t, mailtest.Options{})
	s := newSMTP(t, "smtp://mailer:secret@"+server.Addr, nil)
	if err := s.Check(t.Context()); err == nil || errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "535 5.7.8 to AUTH") {
		t.Errorf("Check with a wrong password: got error %v, want it to contain the reply code for AUTH", err)
	}

	for _, to := range []string{"", "ada", "ada@", "@example.com", "Ada <ada@example.com>", "ada@example.com, eve@example.com", "ada@example.com>\r\nRCPT TO:<eve@example.com",
		"ädä@example.com", `"a b"@example.com`, "ada@exa mple.com", "a@b@example.com"} {
		m := message(t)
		m.To = to
		if err := newSMTP(t, "smtp://"+server.Addr, nil).Send(t.Context(), m); !errors.Is(err, ErrRejected) || strings.Contains(err.Error(), "ada") {
			t.Errorf("Send to %q: got error %v, want ErrRejected without the recipient", to, err)
		}
	}

	if len(server.Messages()) != 0 {
		t.Errorf("got %d messages to invalid recipients, want 0", len(server.Messages()))
	}
}

// Send returns within its timeout, wherever the server hangs or disconnects. If the server hangs after
// it has accepted the message, Send succeeds.
func TestHangingServer(t *testing.T) {
	t.Parallel()

	const timeout = 150 * time.Millisecond
	const bound = timeout + quitTimeout + 2*time.Second
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
		"closed during message": {faults: storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
			return bytes.Contains(chunk, []byte("MIME-Version")) && storetest.HangUp(client, chunk)
		}}},
		"QUIT": {faults: storetest.Faults{Command: starts("QUIT")}, sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := mailtest.New(t, mailtest.Options{StartTLS: tt.tls, ImplicitTLS: tt.implicit})
			proxy := storetest.NewProxy(t, server.Addr)
			proxy.Set(tt.faults)
			scheme := "smtp"
			if tt.implicit {
				scheme = "smtps"
			}

			s := newSMTP(t, scheme+"://"+credentials+proxy.Addr, server.Roots)
			if s.Timeout = timeout; tt.sent {
				s.Timeout = 2 * bound
			}

			start := time.Now()
			err := s.Send(t.Context(), message(t))
			if (err == nil) != tt.sent || errors.Is(err, ErrRejected) {
				t.Errorf("Send: got error %v, want success: %t", err, tt.sent)
			}
			if took := time.Since(start); took > bound {
				t.Errorf("Send: got a result after %v, want it within %v", took, bound)
			}
			if n := len(server.Messages()); n == 1 != tt.sent {
				t.Errorf("got %d messages at the server, want the message sent: %t", n, tt.sent)
			}

			// Send also ends when its context is cancelled.
			s.Timeout = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			defer time.AfterFunc(timeout, cancel).Stop()
			if err := s.Send(ctx, message(t)); err == nil && !tt.sent {
				t.Error("Send with a cancelled context: got no error, want one")
			}
		})
	}

	s := newSMTP(t, "smtp://127.0.0.1:1", nil)
	if err := s.Send(t.Context(), message(t)); err == nil || errors.Is(err, ErrRejected) {
		t.Errorf("Send with a refused connection: got error %v, want one that does not wrap ErrRejected", err)
	}
}
