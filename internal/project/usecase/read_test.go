package usecase_test

import (
	"context"
	"strings"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/mock"
	"github.com/smap-platform/identity/internal/project/usecase"
)

const uuidOwner = "019c1000-0000-7000-8000-00000000000a"

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
			owner    string
			err      error
			want     error
		}{
			"the owner":                               {owner, "proj_1", there, "user-1", nil, nil},
			"the owner, in capitals":                  {project.Actor{UserID: uuidOwner}, "proj_1", there, strings.ToUpper(uuidOwner), nil, nil},
			"the owner, asking in capitals":           {project.Actor{UserID: strings.ToUpper(uuidOwner)}, "proj_1", there, uuidOwner, nil, nil},
			"what is no uuid is compared as it is":    {owner, "proj_1", there, "USER-1", nil, project.ErrNotFound},
			"an administrator":                        {admin, "proj_1", there, "user-1", nil, nil},
			"another user":                            {project.Actor{UserID: "user-2"}, "proj_1", there, "user-1", nil, project.ErrNotFound},
			"no owner is known":                       {owner, "proj_1", there, "", nil, project.ErrNotFound},
			"no user, and no owner is known":          {project.Actor{}, "proj_1", there, "", nil, project.ErrNotFound},
			"a missing project":                       {owner, "proj_1", missing, "", nil, project.ErrNotFound},
			"a missing project, for an administrator": {admin, "proj_1", missing, "", nil, project.ErrNotFound},
			"Redis is unavailable":                    {owner, "proj_1", there, "user-1", unavailable, project.ErrUnavailable},
			"no id":                                   {admin, "", there, "", nil, project.ErrBody},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctrl := gomock.NewController(t)
				reader, watcher := mock.NewMockProgressReader(ctrl), mock.NewMockProgressWatcher(ctrl)
				reading := usecase.NewReading(usecase.ReadingDeps{Progress: reader, Watcher: watcher})
				if tt.id != "" {
					reader.EXPECT().Progress(gomock.Any(), "proj_1").Return(tt.progress, tt.owner, tt.err).Times(2)
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
	t.Run("reports a project and its owner to other services", func(t *testing.T) {
		t.Parallel()
		missing := project.Progress{ProjectID: "proj_1", Status: project.StatusNotFound}
		for name, tt := range map[string]struct {
			progress project.Progress
			owner    string
			err      error
		}{
			"there":                {running().Progress, "user-1", nil},
			"of nobody known":      {running().Progress, "", nil},
			"missing":              {missing, "", nil},
			"Redis is unavailable": {project.Progress{}, "", project.ErrUnavailable},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				reader := mock.NewMockProgressReader(gomock.NewController(t))
				reader.EXPECT().Progress(gomock.Any(), "proj_1").Return(tt.progress, tt.owner, tt.err)
				progress, owner, err := usecase.NewReading(usecase.ReadingDeps{Progress: reader}).Report(context.Background(), "proj_1")
				require.Equal(t, tt.err, err)
				require.Equal(t, tt.progress, progress)
				require.Equal(t, tt.owner, owner)
			})
		}
		_, _, err := usecase.NewReading(usecase.ReadingDeps{}).Report(context.Background(), "a:b")
		require.ErrorIs(t, err, project.ErrBody)
	})
}
