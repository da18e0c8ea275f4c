package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/mock"
	"github.com/smap-platform/identity/internal/project/usecase"
)

func TestReading(t *testing.T) {
	t.Parallel()
	t.Run("shows a project to its owner and to administrators", func(t *testing.T) {
		t.Parallel()
		there := running().Progress
		missing := project.Progress{ProjectID: "proj_1", Status: project.StatusNotFound}
		unavailable := project.ErrUnavailable.WithCause(errDown)
		owner, admin := project.Actor{UserID: "user-1"}, project.Actor{UserID: "user-9", Admin: true}
		tests := map[string]struct {
			actor    project.Actor
			id       string
			progress project.Progress
			err      error // of reading it
			asked    bool  // whether the owner is looked up
			owner    string
			ownerErr error
			want     error
		}{
			"the owner":                               {owner, "proj_1", there, nil, true, "user-1", nil, nil},
			"an administrator":                        {admin, "proj_1", there, nil, false, "", nil, nil},
			"another user":                            {project.Actor{UserID: "user-2"}, "proj_1", there, nil, true, "user-1", nil, project.ErrNotFound},
			"no owner is known":                       {owner, "proj_1", there, nil, true, "", nil, project.ErrNotFound},
			"no user, and no owner is known":          {project.Actor{}, "proj_1", there, nil, true, "", nil, project.ErrNotFound},
			"a missing project":                       {owner, "proj_1", missing, nil, false, "", nil, project.ErrNotFound},
			"a missing project, for an administrator": {admin, "proj_1", missing, nil, false, "", nil, project.ErrNotFound},
			"Redis is unavailable":                    {owner, "proj_1", there, unavailable, false, "", nil, project.ErrUnavailable},
			"Redis becomes unavailable":               {owner, "proj_1", there, nil, true, "user-1", unavailable, project.ErrUnavailable},
			"no id":                                   {admin, "", there, nil, false, "", nil, project.ErrBody},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctrl := gomock.NewController(t)
				reader, watcher := mock.NewMockProgressReader(ctrl), mock.NewMockProgressWatcher(ctrl)
				reading := usecase.NewReading(usecase.ReadingDeps{Progress: reader, Watcher: watcher})
				if tt.id != "" {
					reader.EXPECT().Progress(gomock.Any(), "proj_1").Return(tt.progress, tt.err).Times(2)
				}
				if tt.asked {
					reader.EXPECT().Owner(gomock.Any(), "proj_1").Return(tt.owner, tt.ownerErr).Times(2)
				}
				changes, stops := make(chan project.Progress), 0
				if tt.want == nil {
					watcher.EXPECT().Watch("proj_1").Return(changes, func() { stops++ })
				}

				progress, err := reading.Progress(context.Background(), tt.actor, tt.id)
				watching, watchErr := reading.Watch(context.Background(), tt.actor, tt.id)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
					require.ErrorIs(t, watchErr, tt.want)
					require.Zero(t, progress)
					require.Nil(t, watching.Stop)
					return
				}
				require.NoError(t, err)
				require.NoError(t, watchErr)
				require.Equal(t, there, progress)
				require.Equal(t, there, watching.Now)
				require.Equal(t, (<-chan project.Progress)(changes), watching.Changes)
				watching.Stop()
				require.Equal(t, 1, stops)
			})
		}
	})
}
