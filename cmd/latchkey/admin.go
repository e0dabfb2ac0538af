package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// cli is one run of an operator's command.
type cli struct {
	*app.Admin
	in     *bufio.Reader
	out    io.Writer
	asides io.Writer // what is not the answer: questions, progress
	json   bool
	yes    bool
	all    bool
	user   string
	limit  int64
}

// adminCommands by their names, with what they take.
var adminCommands = map[string]struct {
	takes int // how many arguments
	run   func(*cli, context.Context, []string) error
}{
	"sessions list":      {1, (*cli).listSessions},
	"sessions show":      {1, (*cli).showSession},
	"sessions revoke":    {-1, (*cli).revoke},
	"sessions stats":     {0, (*cli).stats},
	"users list":         {0, (*cli).listUsers},
	"users show":         {1, (*cli).showUser},
	"users create":       {2, (*cli).createUser},
	"users set-password": {1, (*cli).setPassword},
	"users disable":      {1, (*cli).disable},
	"users enable":       {1, (*cli).enable},
	"users delete":       {1, (*cli).delete},
}

// admin runs `latchkey sessions ...` and `latchkey users ...`.
func admin(ctx context.Context, args []string, vars map[string]string, std stdio) error {
	name := strings.Join(args[:min(len(args), 2)], " ")
	command, ok := adminCommands[name]
	if !ok {
		return fmt.Errorf("there is no command %q; see latchkey help", name)
	}
	c := &cli{in: bufio.NewReader(std.in), out: std.out, asides: std.err}
	rest, err := c.parse(name, args[2:])
	if err != nil {
		return err
	}
	if command.takes >= 0 && len(rest) != command.takes {
		return fmt.Errorf("%s: takes %d arguments, not %d; see latchkey help", name, command.takes, len(rest))
	}
	settings, err := config.Load(vars)
	if err != nil {
		return err
	}
	if c.Admin, err = app.OpenAdmin(settings, std.err); err != nil {
		return err
	}
	defer c.Close()
	return command.run(c, ctx, rest)
}

// parse reads flags wherever they stand, and returns the other arguments.
func (c *cli) parse(name string, args []string) (rest []string, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&c.json, "json", false, "")
	switch name {
	case "sessions revoke":
		flags.BoolVar(&c.yes, "yes", false, "")
		flags.BoolVar(&c.all, "all", false, "")
		flags.StringVar(&c.user, "user", "", "")
	case "users delete":
		flags.BoolVar(&c.yes, "yes", false, "")
	case "users list":
		flags.Int64Var(&c.limit, "limit", 100, "")
	}
	for {
		if err := flags.Parse(args); err != nil {
			return nil, fmt.Errorf("%s: %w; see latchkey help", name, err)
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}

func (c *cli) listSessions(ctx context.Context, args []string) error {
	sessions, err := c.Sessions(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		shown := make([]shownSession, len(sessions))
		for i, s := range sessions {
			shown[i] = show(s)
		}
		return c.printJSON(shown)
	}
	return c.table("ID\tDEVICE\tADDRESS\tLAST SEEN\tEXPIRES", len(sessions), "no sessions", func(i int) []any {
		s := sessions[i]
		return []any{s.Handle, s.Device(), s.IP, moment(s.LastSeenAt), moment(s.IdleExpiresAt)}
	})
}

func (c *cli) showSession(ctx context.Context, args []string) error {
	s, err := c.Session(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(show(s))
	}
	return c.fields(
		"id", s.Handle, "user", s.UserID, "email", s.Email, "device", s.Device(), "address", s.IP,
		"created", moment(s.CreatedAt), "last seen", moment(s.LastSeenAt), "idle until", moment(s.IdleExpiresAt),
		"expires", moment(s.ExpiresAt), "methods", strings.Join(s.Methods, ", "))
}

func (c *cli) revoke(ctx context.Context, args []string) error {
	var n int
	var err error
	switch {
	case len(args) == 1 && c.user == "" && !c.all:
		n, err = 1, c.RevokeSession(ctx, args[0])
	case len(args) == 0 && c.user != "" && !c.all:
		n, err = c.RevokeUser(ctx, c.user)
	case len(args) == 0 && c.user == "" && c.all:
		if err := c.confirm("End the sessions of all users?"); err != nil {
			return err
		}
		last := time.Now()
		n, err = c.RevokeEverything(ctx, func(ended int) {
			if time.Since(last) >= time.Second {
				last = time.Now()
				_, _ = fmt.Fprintf(c.asides, "%d ended\n", ended)
			}
		})
	default:
		return errors.New("sessions revoke: takes one of HANDLE, --user USER and --all; see latchkey help")
	}
	if err != nil {
		return err
	}
	return c.ended("", n)
}

func (c *cli) stats(ctx context.Context, _ []string) error {
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]int{"sessions": stats.Sessions, "users": stats.Users})
	}
	return c.fields("sessions", stats.Sessions, "users", stats.Users)
}

func (c *cli) listUsers(ctx context.Context, _ []string) error {
	users, err := c.Users(ctx, c.limit)
	if err != nil {
		return err
	}
	if c.json {
		shown := make([]shownUser, len(users))
		for i, u := range users {
			shown[i] = showUser(u)
		}
		return c.printJSON(shown)
	}
	return c.table("ID\tEMAIL\tNAME\tSTATE\tLAST LOGIN", len(users), "no users", func(i int) []any {
		u := users[i]
		return []any{u.ID, u.Email, u.Name, state(u), moment(u.LastLogin)}
	})
}

func (c *cli) showUser(ctx context.Context, args []string) error {
	u, err := c.User(ctx, args[0])
	if err != nil {
		return err
	}
	return c.printUser(u)
}

func (c *cli) createUser(ctx context.Context, args []string) error {
	password, err := c.password()
	if err != nil {
		return err
	}
	u, err := c.CreateUser(ctx, args[1], args[0], password)
	if err != nil {
		return err
	}
	return c.printUser(u)
}

func (c *cli) setPassword(ctx context.Context, args []string) error {
	password, err := c.password()
	if err != nil {
		return err
	}
	u, n, err := c.SetPassword(ctx, args[0], password)
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" has another password; ", n)
}

func (c *cli) disable(ctx context.Context, args []string) error {
	u, n, err := c.Disable(ctx, args[0])
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" is disabled; ", n)
}

func (c *cli) enable(ctx context.Context, args []string) error {
	u, err := c.Enable(ctx, args[0])
	if err != nil {
		return err
	}
	return c.printUser(u)
}

func (c *cli) delete(ctx context.Context, args []string) error {
	u, err := c.User(ctx, args[0])
	if err != nil {
		return err
	}
	if err := c.confirm(fmt.Sprintf("Delete the account of %s (%s)?", u.Email, u.Name)); err != nil {
		return err
	}
	u, n, err := c.Delete(ctx, u.ID)
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" is deleted; ", n)
}

// password reads a password from the first line of the input, so that it stands in
// no list of processes and no history of a shell.
func (c *cli) password() (string, error) {
	_, _ = fmt.Fprint(c.asides, "Password: ")
	line, err := c.in.ReadString('\n')
	if err != nil && line == "" {
		return "", errors.New("give the password on the input, as one line")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (c *cli) confirm(question string) error {
	if c.yes {
		return nil
	}
	_, _ = fmt.Fprint(c.asides, question, " [y/N] ")
	line, _ := c.in.ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was done; answer y, or say --yes")
	}
	return nil
}

// shownSession is a session for programs, under the names of the API.
type shownSession struct {
	ID              string    `json:"id"`
	UserID          string    `json:"userId"`
	Email           string    `json:"email"`
	Device          string    `json:"device"`
	IP              string    `json:"ip"`
	UserAgent       string    `json:"userAgent"`
	CreatedAt       time.Time `json:"createdAt"`
	LastSeenAt      time.Time `json:"lastSeenAt"`
	IdleExpiresAt   time.Time `json:"idleExpiresAt"`
	ExpiresAt       time.Time `json:"expiresAt"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
	Methods         []string  `json:"methods"`
}

func show(s *session.Session) shownSession {
	return shownSession{
		ID: s.Handle, UserID: s.UserID, Email: s.Email, Device: s.Device(), IP: s.IP, UserAgent: s.UserAgent,
		CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt, IdleExpiresAt: s.IdleExpiresAt, ExpiresAt: s.ExpiresAt,
		AuthenticatedAt: s.AuthenticatedAt, Methods: s.Methods,
	}
}

// shownUser is an account for programs, under the names of the API.
type shownUser struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Email     user.Email `json:"email"`
	IsActive  bool       `json:"isActive"`
	LastLogin time.Time  `json:"lastLogin,omitzero"`
	CreatedAt time.Time  `json:"createdAt"`
	UpdatedAt time.Time  `json:"updatedAt"`
}

func showUser(u user.User) shownUser {
	return shownUser{u.ID, u.Name, u.Email, u.Active, u.LastLogin, u.CreatedAt, u.UpdatedAt}
}

func (c *cli) printUser(u user.User) error {
	if c.json {
		return c.printJSON(showUser(u))
	}
	return c.fields("id", u.ID, "email", u.Email, "name", u.Name, "state", state(u),
		"last login", moment(u.LastLogin), "created", moment(u.CreatedAt), "updated", moment(u.UpdatedAt))
}

// ended says what was done and how many sessions have ended.
func (c *cli) ended(done string, n int) error {
	if c.json {
		return c.printJSON(map[string]int{"revoked": n})
	}
	noun := "sessions"
	if n == 1 {
		noun = "session"
	}
	_, err := fmt.Fprintf(c.out, "%s%d %s ended\n", done, n, noun)
	return err
}

func (c *cli) printJSON(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func (c *cli) table(head string, rows int, none string, row func(i int) []any) error {
	if rows == 0 {
		_, err := fmt.Fprintln(c.out, none)
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	for i := range rows {
		for _, cell := range row(i) {
			_, _ = fmt.Fprintf(w, "%s\t", printable(cell))
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush()
}

// fields prints names and values in pairs, one pair a line.
func (c *cli) fields(pairs ...any) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for pair := range slices.Chunk(pairs, 2) {
		_, _ = fmt.Fprintf(w, "%v\t%s\n", pair[0], printable(pair[1]))
	}
	return w.Flush()
}

// printable makes a value safe to show: names and user agents are other people's
// text, and a terminal obeys control characters.
func printable(v any) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, fmt.Sprint(v))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func state(u user.User) string {
	if u.Active {
		return "active"
	}
	return "disabled"
}
