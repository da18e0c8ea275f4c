package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// TrialKeeper keeps one trial per person when addresses are erased.
type TrialKeeper struct {
	trials subscription.TrialRepository
	key    subscription.TrialKey
}

// NewTrialKeeper returns a [TrialKeeper].
func NewTrialKeeper(t subscription.TrialRepository, k subscription.TrialKey) *TrialKeeper {
	return &TrialKeeper{t, k}
}

// KeepTrial records in the transaction of ctx that an address has had its trial, if a user with it has had a subscription:
// of those from before trials were recorded nothing else would be left.
func (k *TrialKeeper) KeepTrial(ctx context.Context, email string) error {
	had, err := k.trials.HadSubscription(ctx, email)
	if err != nil || !had {
		return err
	}
	_, err = k.trials.Record(ctx, k.key.Digest(email))
	return err
}
