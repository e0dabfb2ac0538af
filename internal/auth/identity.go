package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

var (
	// ErrLinkRequired says that another account has the address of who has signed in
	// elsewhere, and that only its owner can link the two, from inside.
	ErrLinkRequired = errors.New("the address belongs to an account that is not linked")
	// ErrNoEmail says that an account cannot be made without an address.
	ErrNoEmail = errors.New("the provider gave no email address")
	// ErrDisabled says so to who has proved to own the account.
	ErrDisabled = errors.New("the account is disabled")
)

// Entry is how someone who has signed in elsewhere came to their account.
type Entry string

// The ways in.
const (
	Returned Entry = ""
	Created  Entry = "created" // there was none
	Linked   Entry = "linked"  // it has the same address, both confirmed
	Claimed  Entry = "claimed" // it has the same address, which its maker never confirmed
)

// entryTries is how often an Enter begins anew because someone else was faster.
const entryTries = 3

// Enter returns the account of who has signed in elsewhere. It is found by issuer and
// subject (OWASP ASVS 5.0 6.8.1, 10.5.2). Where there is none, the address decides once:
//
//   - Nobody has it: an account is made.
//   - Provider and account both say that it is confirmed: the two are linked.
//   - Only the provider says so: whoever made the account in advance, perhaps to wait in
//     it for its owner, does not keep it. Password, sessions, links and tickets go.
//   - The provider does not: ErrLinkRequired.
//
// mayCreate is asked before an account is made. Call RecordEntry before the session
// begins. Errors: also ErrNoEmail, ErrDisabled, user.ErrUnavailable, those of end and
// mayCreate.
func (s *Service) Enter(ctx context.Context, c user.Claims, from Origin, end EndSessions, mayCreate func() error) (user.User, Entry, error) {
	for range entryTries {
		u, err := s.users.ByIdentity(ctx, c.Issuer, c.Subject)
		how := Returned
		if errors.Is(err, user.ErrNotFound) {
			u, how, err = s.enterByEmail(ctx, c, from, end, mayCreate)
		}
		switch {
		case errors.Is(err, user.ErrNotFound), errors.Is(err, user.ErrEmailTaken), errors.Is(err, user.ErrIdentityTaken):
			continue // what was just found is not so any more
		case err == nil && !u.Active:
			return user.User{}, "", ErrDisabled
		}
		return u, how, err
	}
	return user.User{}, "", user.ErrUnavailable
}

func (s *Service) enterByEmail(ctx context.Context, c user.Claims, from Origin, end EndSessions, mayCreate func() error) (user.User, Entry, error) {
	if c.Email == "" {
		return user.User{}, "", ErrNoEmail
	}
	u, err := s.users.ByEmail(ctx, c.Email)
	switch {
	case errors.Is(err, user.ErrNotFound):
		if err := mayCreate(); err != nil {
			return user.User{}, "", err
		}
		u, err = s.create(ctx, c, from)
		return u, Created, err
	case err != nil:
		return user.User{}, "", err
	case !c.EmailVerified:
		return user.User{}, "", s.linkRequired(ctx, u, end)
	case !u.Active:
		return user.User{}, "", ErrDisabled
	case u.EmailVerified && slices.Contains(u.Unlinked, c.Provider):
		return user.User{}, "", ErrLinkRequired
	}
	how := Linked
	if !u.EmailVerified {
		how = Claimed
		if u, err = s.claim(ctx, u, c, end); err != nil {
			return user.User{}, "", err
		}
	}
	// Its address may change under our hands.
	added, err := s.connect(ctx, u.ID, c, func() error {
		now, err := s.users.ByID(ctx, u.ID)
		if err == nil && (now.Email != u.Email || !now.EmailVerified) {
			err = user.ErrNotFound
		}
		return err
	})
	if errors.Is(err, user.ErrAlreadyLinked) {
		// Another account of the provider is, with the same address: it has another owner
		// now, and this may be anyone.
		err = ErrLinkRequired
	}
	if added || how == Claimed {
		told := mail.IdentityLinked
		if how == Claimed {
			told = mail.AccountClaimed
		}
		s.tellOfProvider(ctx, told, c, u, from)
	}
	if err != nil {
		return user.User{}, "", err
	}
	return u, how, nil
}

// connect links an account elsewhere to one here, and tells whether that is new: also
// where the store has not said so, and it may be. It opens nothing before still has said
// that it may.
func (s *Service) connect(ctx context.Context, userID string, c user.Claims, still func() error) (added bool, err error) {
	proposal, linked, err := s.users.Propose(ctx, userID, c)
	if err != nil || linked {
		return false, err
	}
	if err = still(); err == nil {
		err = s.users.Confirm(ctx, proposal)
	}
	if err != nil {
		withdrawn := s.users.Withdraw(ctx, proposal)
		return withdrawn != nil, errors.Join(err, withdrawn)
	}
	return true, nil
}

// create makes an account that is linked from its first moment, as far as the store can
// be asked.
func (s *Service) create(ctx context.Context, c user.Claims, from Origin) (user.User, error) {
	u, err := s.users.Create(ctx, user.User{Name: nameOf(c), Email: c.Email, EmailVerified: c.EmailVerified, Picture: c.Picture})
	if err != nil {
		return user.User{}, err
	}
	if _, err := s.connect(ctx, u.ID, c, func() error { return nil }); err != nil {
		return user.User{}, errors.Join(err, s.users.Delete(ctx, u.ID))
	}
	if !u.EmailVerified {
		if err := s.AskVerification(ctx, u, from); err != nil {
			s.log.ErrorContext(ctx, "a new user gets no mail to verify the address", "userId", u.ID, "error", err)
		}
	}
	return u, nil
}

// linkRequired is ErrLinkRequired, unless nobody can log in to the account: then create
// has broken off, and the account makes room.
func (s *Service) linkRequired(ctx context.Context, u user.User, end EndSessions) error {
	if u.PasswordHash != "" || u.EmailVerified || !u.Active {
		return ErrLinkRequired
	}
	all, err := s.users.Identities(ctx, u.ID)
	if err != nil {
		return err
	}
	switch {
	case len(all) > 0 || !u.LastLogin.IsZero():
		return ErrLinkRequired
	case s.options.Now().Sub(u.CreatedAt) < time.Minute:
		return user.ErrUnavailable // another tab may be at it
	}
	if err := end(ctx, u.ID); err != nil {
		return err
	}
	return errors.Join(user.ErrNotFound, s.users.Discard(ctx, u))
}

// claim takes an account from whoever made it with an address that is not known to be
// theirs. It is confirmed last: whatever breaks off before, the next try begins anew.
func (s *Service) claim(ctx context.Context, u user.User, c user.Claims, end EndSessions) (user.User, error) {
	if err := end(ctx, u.ID); err != nil {
		return user.User{}, err
	}
	if err := s.users.Disown(ctx, u.ID, c.Email); err != nil {
		return user.User{}, err
	}
	if err := s.endAndUnlink(end)(ctx, u.ID); err != nil {
		return user.User{}, err
	}
	return s.users.Claim(ctx, u.ID, c.Email, nameOf(c), c.Picture)
}

// endAndUnlink leaves nobody in an account, and no way in but the password: the sessions
// end, so that none of them links another account; then the links go; then the sessions
// that began by one of these.
func (s *Service) endAndUnlink(end EndSessions) EndSessions {
	return func(ctx context.Context, userID string) error {
		if err := end(ctx, userID); err != nil {
			return err
		}
		if err := s.users.UnlinkAll(ctx, userID); err != nil {
			return err
		}
		return end(ctx, userID)
	}
}

// nameOf is the name for an account of who gave none.
func nameOf(c user.Claims) string {
	if c.Name != "" {
		return c.Name
	}
	local, _, _ := strings.Cut(string(c.Email), "@")
	return local
}

// RecordEntry notes a login by an account elsewhere. One that is not linked any more, or
// to an account that was disabled or deleted meanwhile, is ErrBadCredentials. As with
// RecordLogin, who does one of these ends the sessions afterwards. Errors: also
// user.ErrUnavailable.
func (s *Service) RecordEntry(ctx context.Context, userID string, c user.Claims) (user.User, error) {
	u, err := s.users.RecordSignIn(ctx, userID, c)
	if errors.Is(err, user.ErrNotFound) {
		err = ErrBadCredentials
	}
	return u, err
}

// Link adds an account elsewhere to that of who is signed in, and tells its owner. still
// says whether they are. Errors: user.ErrIdentityTaken, user.ErrAlreadyLinked,
// user.ErrNotFound, user.ErrUnavailable, those of still.
func (s *Service) Link(ctx context.Context, userID string, c user.Claims, from Origin, still func() error) error {
	u, err := s.users.ByID(ctx, userID)
	if err == nil && !u.Active {
		err = user.ErrNotFound
	}
	if err != nil {
		return err
	}
	added, err := s.connect(ctx, userID, c, func() error {
		if err := still(); err != nil {
			return err
		}
		return s.users.Relinked(ctx, userID, c.Provider)
	})
	if added {
		s.tellOfProvider(ctx, mail.IdentityLinked, c, u, from)
	}
	return err
}

// tellOfProvider mails the owner of an account about one elsewhere, and says which.
func (s *Service) tellOfProvider(ctx context.Context, kind mail.Kind, c user.Claims, u user.User, from Origin) {
	named := c.Provider // it may have been configured once
	for _, p := range s.options.Providers {
		if p.Name == c.Provider {
			named = p.Title
		}
	}
	if c.Email != "" {
		named += " (" + string(c.Email) + ")"
	}
	s.tellOf(ctx, mail.Job{Kind: kind, Provider: named}, u, from)
}

// Unlink removes the account elsewhere of a provider from an account, ends its sessions,
// which may have begun with it, and tells its owner. With an error of end after the
// change, the account is returned as well. Errors: user.ErrNoIdentity,
// user.ErrLastMethod, user.ErrNotFound, user.ErrUnavailable, those of end.
func (s *Service) Unlink(ctx context.Context, userID, provider string, from Origin, end EndSessions) (user.User, error) {
	u, err := s.users.ByID(ctx, userID)
	if err != nil {
		return user.User{}, err
	}
	// Before anybody is signed out for it.
	all, err := s.users.Identities(ctx, userID)
	issuers := map[string]string{}
	for _, p := range s.options.Providers {
		issuers[p.Name] = p.Issuer
	}
	other := func(i user.Identity) bool { return i.Provider != provider && issuers[i.Provider] == i.Issuer }
	switch {
	case err != nil:
		return user.User{}, err
	case !slices.ContainsFunc(all, func(i user.Identity) bool { return i.Provider == provider }):
		return user.User{}, user.ErrNoIdentity
	case u.PasswordHash == "" && !slices.ContainsFunc(all, other):
		return user.User{}, user.ErrLastMethod
	}
	var removed user.Identity
	return s.around(ctx, userID, end, func() (user.User, error) {
		removed, err = s.users.Unlink(ctx, userID, provider, issuers)
		return u, err
	}, func(u user.User) {
		s.tellOfProvider(ctx, mail.IdentityUnlinked, user.Claims{Provider: provider, Email: removed.Email}, u, from)
	})
}
