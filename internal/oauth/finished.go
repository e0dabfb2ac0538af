package oauth

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/user"
)

// Finished is the result of Service.Finish.
type Finished struct {
	Flow Flow
	// Claims identify the user. Claims about the user, such as the email, may be missing: see
	// Complete.
	Claims user.Claims

	more     completion // nil if nothing is missing
	deadline time.Time  // for all requests of the sign-in together
}

// completion requests missing claims from the provider and returns all claims. Errors:
// ErrRefused, ErrUnavailable.
type completion func(ctx context.Context) (user.Claims, error)

// IsComplete reports whether Complete does not send a request.
func (f Finished) IsComplete() bool { return f.more == nil }

// Complete returns the claims, and requests the email and whether it is verified if they are
// missing. It is only needed for users without an account: the others are identified by issuer
// and subject, and must not depend on another endpoint of the provider. Errors: ErrRefused,
// ErrUnavailable.
func (f Finished) Complete(ctx context.Context) (user.Claims, error) {
	if f.IsComplete() {
		return f.Claims, nil
	}

	ctx, cancel := context.WithDeadline(ctx, f.deadline)
	defer cancel()

	claims, err := f.more(ctx)
	if err != nil {
		return user.Claims{}, withProvider(f.Claims.Provider, fmt.Errorf("email is missing: %w", err))
	}
	claims.Provider = f.Claims.Provider

	return claims, nil
}
