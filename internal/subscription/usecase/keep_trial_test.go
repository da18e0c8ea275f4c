package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription/mock"
	"github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

func TestKeepTrial(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		had    bool
		failed error
	}{
		"records a subscription of before trials were": {had: true},
		"records nothing for who has had none":         {},
		"returns an error":                             {failed: database.ErrNoTx},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trials := mock.NewMockTrialRepository(gomock.NewController(t))
			trials.EXPECT().HadSubscription(gomock.Any(), email).Return(tc.had, tc.failed)
			if tc.had {
				trials.EXPECT().Record(gomock.Any(), trialKey.Digest(email)).Return(true, nil)
			}
			require.Equal(t, tc.failed, usecase.NewTrialKeeper(trials, trialKey).KeepTrial(context.Background(), email))
		})
	}
}
