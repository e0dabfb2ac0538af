package mailtest

import (
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"
)

// The credentials that a Server accepts. The password has characters that need escaping in a
// URL.
const (
	Username = "mailer"
	Password = "p/ss:w@rd"
)

// ScramSHA256 is a mechanism for which go-sasl has no constant.
const ScramSHA256 = "SCRAM-SHA-256"

func (c *conversation) AuthMechanisms() []string { return c.server.mechanisms }

func (c *conversation) Auth(mechanism string) (sasl.Server, error) {
	c.server.mu.Lock()
	c.server.logins = append(c.server.logins, mechanism)
	c.server.mu.Unlock()

	switch mechanism {
	case ScramSHA256:
		return newScramServer(func() { c.message.LoggedIn = true })
	case sasl.Login:
		return &loginServer{check: c.checkPassword}, nil
	}

	return sasl.NewPlainServer(func(_, username, password string) error {
		return c.checkPassword(username, password)
	}), nil
}

// checkPassword checks a login. The reply to a wrong password quotes that password, as some
// servers do.
func (c *conversation) checkPassword(username, password string) error {
	if err := c.reach(Auth); err != nil {
		return err
	}

	c.message.LoggedIn = username == Username && password == Password
	if !c.message.LoggedIn {
		return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no login for " + username + " " + password}
	}

	return nil
}

// loginServer is the server side of LOGIN, which go-sasl lacks.
type loginServer struct {
	check     func(username, password string) error
	responses []string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response != nil {
		l.responses = append(l.responses, string(response))
	}

	switch len(l.responses) {
	case 0:
		return []byte("Username:"), false, nil
	case 1:
		return []byte("Password:"), false, nil
	}

	return nil, true, l.check(l.responses[0], l.responses[1])
}

// scramServer is the server side of SCRAM, which go-sasl lacks.
type scramServer struct {
	*scram.ServerConversation
	loggedIn func()
}

func newScramServer(loggedIn func()) (*scramServer, error) {
	client, err := scram.SHA256.NewClient(Username, Password, "")
	if err != nil {
		return nil, err
	}
	stored := client.GetStoredCredentials(scram.KeyFactors{Salt: "salt and pepper", Iters: 4096})

	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return nil, err
	}

	return &scramServer{server.NewConversation(), loggedIn}, nil
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return nil, false, nil
	}
	if s.Done() {
		s.loggedIn()

		return nil, true, nil // the client's last message is empty
	}

	reply, err := s.Step(string(response))

	return []byte(reply), false, err
}
