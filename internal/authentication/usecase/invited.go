package usecase

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// Invited has the verbs of accounts that were created for an address its owner has not proven yet. It needs no secrets
// and is safe for concurrent use.
type Invited struct {
	users authentication.InvitedRepository
}

// NewInvited returns an [Invited].
func NewInvited(users authentication.InvitedRepository) *Invited { return &Invited{users} }

// CreateInvited creates an account, inactive and without a password, for each address that no account has, and returns
// the new ids by address. The addresses are as ParseEmail returns them; locale is the language of their mails. It needs a transaction in ctx, and waits for
// registrations of these addresses that are under way.
func (i *Invited) CreateInvited(ctx context.Context, emails []string, locale string, now time.Time) (map[string]string, error) {
	users := make([]authentication.User, len(emails))
	ids := make(map[string]string, len(emails))
	for n, email := range emails {
		ids[email] = uuid.Must(uuid.NewV7()).String()
		users[n] = authentication.User{
			ID:        ids[email],
			Email:     email,
			Role:      authentication.RoleUser,
			Locale:    locale,
			CreatedAt: now,
			UpdatedAt: now,
		}
	}
	created, err := i.users.CreateInvited(ctx, users)
	if err != nil {
		return nil, err
	}
	createdIDs := make(map[string]string, len(created))
	for _, email := range created {
		createdIDs[email] = ids[email]
	}
	return createdIDs, nil
}

// DeleteInvited deletes those of the accounts that are still Invited, and returns how many. Their addresses are free
// again.
func (i *Invited) DeleteInvited(ctx context.Context, userIDs []string, now time.Time) (int64, error) {
	return i.users.DeleteInvited(ctx, userIDs, now)
}

// EraseInvited removes every trace of those of the accounts that were deleted and never used.
func (i *Invited) EraseInvited(ctx context.Context, userIDs []string) error {
	return i.users.EraseInvited(ctx, userIDs)
}
