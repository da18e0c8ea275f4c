package redispubsub

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/redis"
)

// each runs test on miniredis, and on a real server that others use as well: every test has ids of its own.
func each(t *testing.T, test func(t *testing.T, client *goredis.Client)) {
	t.Parallel()
	run := func(name string, options func(t *testing.T) redis.Options) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redis.Open(options(t))
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			test(t, client)
		})
	}
	run("miniredis", func(t *testing.T) redis.Options { return redis.Options{Addr: miniredis.RunT(t).Addr()} })
	if os.Getenv("INTEGRATION") != "" {
		run("redis", func(t *testing.T) redis.Options {
			require.NotEmpty(t, os.Getenv("REDIS_HOST"), "INTEGRATION is set but REDIS_HOST is not; run make test-integration")
			db, err := strconv.Atoi(os.Getenv("REDIS_CACHE_DB"))
			require.NoError(t, err)
			return redis.Options{
				Addr: net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT")), Password: os.Getenv("REDIS_PASSWORD"), DB: db,
			}
		})
	}
}

// listening starts the hub and waits for its subscription; the test's end stops it.
func listening(t *testing.T, h *Subscriber) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	before, err := h.client.PubSubNumPat(ctx).Result()
	require.NoError(t, err)
	for before == 0 {
		before, err = h.client.PubSubNumPat(ctx).Result()
		require.NoError(t, err)
	}
}

// next is the next progress of which is says that it is the one.
func next(t *testing.T, changes <-chan project.Progress, is func(project.Progress) bool) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case p := <-changes:
			if is(p) {
				return
			}
		case <-timeout:
			require.Fail(t, "it did not come")
		}
	}
}

func TestAMessageIsAHint(t *testing.T) {
	each(t, func(t *testing.T, client *goredis.Client) {
		r, id := &reader{}, "proj:"+uuid.NewString()
		h := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(error) {}})
		listening(t, h)
		changes, stop := h.Watch(id)
		defer stop()
		next(t, changes, func(p project.Progress) bool { return p.Done == 0 })
		r.set(5, nil)
		for _, channel := range []string{"project:" + id, "project::user-1", "user_noti:" + id, "project:" + id + "x:user-1"} {
			require.NoError(t, client.Publish(context.Background(), channel, "{}").Err())
		}
		require.NoError(t, client.Publish(context.Background(), "project:"+id+":user-1", "whatever a neighbour writes").Err())
		next(t, changes, func(p project.Progress) bool { return p.ProjectID == id && p.Done == 5 })
	})
}

func TestWhatIsAnnouncedIsHeard(t *testing.T) {
	each(t, func(t *testing.T, client *goredis.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, id := &reader{}, uuid.NewString()
		h, a := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(error) {}}), NewPublisher(PublisherOptions{Client: client, OnOutage: func(error) {}})
		listening(t, h)
		go func() { _ = a.Run(ctx) }()
		changes, stop := h.Watch(id)
		defer stop()
		next(t, changes, func(project.Progress) bool { return true })
		r.set(9, nil)
		a.Publish("user-1", at(id, 9))
		next(t, changes, func(p project.Progress) bool { return p.Done == 9 })
	})
}

func TestTheMessagesOnBothChannels(t *testing.T) {
	each(t, func(t *testing.T, client *goredis.Client) {
		ctx, id, user := context.Background(), "proj_"+uuid.NewString(), uuid.NewString()
		onProject, onUser := client.Subscribe(ctx, "project:"+id+":"+user), client.Subscribe(ctx, "user_noti:"+user)
		for _, s := range []*goredis.PubSub{onProject, onUser} {
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			_, err := s.Receive(ctx)
			require.NoError(t, err)
		}
		p := sender{client}
		for _, tt := range []struct {
			progress        project.Progress
			kind, rest, pct string
		}{
			{
				project.Progress{ProjectID: id, Status: project.StatusProcessing, Total: 3, Done: 1, Errors: 1},
				"project_progress", `"status":"PROCESSING","total":3,"done":1,"errors":1`, "33.33",
			},
			{project.Progress{ProjectID: id, Status: project.StatusInitializing}, "project_progress", `"status":"INITIALIZING","total":0,"done":0,"errors":0`, "0"},
			{
				project.Progress{ProjectID: id, Status: project.StatusFailed, Total: 3, Done: 1},
				"project_progress", `"status":"FAILED","total":3,"done":1,"errors":0`, "33.33",
			},
			{
				project.Progress{ProjectID: id, Status: project.StatusDone, Total: 3, Done: 3, Errors: 1},
				"project_completed", `"status":"DONE","total":3,"done":3,"errors":1`, "100",
			},
		} {
			require.NoError(t, p.send(ctx, []update{{user, tt.progress}}))
			want := `{"type":"` + tt.kind + `","payload":{"project_id":"` + id + `",` + tt.rest + `,"%":` + tt.pct + `}}`
			got, err := onProject.ReceiveMessage(ctx)
			require.NoError(t, err)
			require.JSONEq(t, replace(want, "overall_progress_percent"), got.Payload)
			got, err = onUser.ReceiveMessage(ctx)
			require.NoError(t, err)
			require.JSONEq(t, replace(want, "progress_percent"), got.Payload)
		}
	})
}

// Not on a real server, which others count as well.
func TestAThousandStreamsAreOneSubscription(t *testing.T) {
	t.Parallel()
	client := redis.Open(redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	h := NewSubscriber(SubscriberOptions{Client: client, Reader: &reader{}, OnOutage: func(error) {}})
	listening(t, h)
	for i := range 1000 {
		_, stop := h.Watch(strconv.Itoa(i % 10))
		defer stop()
	}
	n, err := client.PubSubNumPat(context.Background()).Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestASubscriptionThatBreaksIsMadeAnewAndEverythingIsRead(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.Open(redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	r, told := &reader{}, make(chan error, 10)
	h := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(err error) { told <- err }})
	h.pause = time.Millisecond
	listening(t, h)
	changes, stop := h.Watch("p")
	defer stop()
	next(t, changes, func(project.Progress) bool { return true })

	server.Close()
	require.Error(t, <-told)
	r.set(4, nil) // and nobody has heard of it
	require.NoError(t, server.Restart())
	require.NoError(t, <-told)
	next(t, changes, func(p project.Progress) bool { return p.Done == 4 })
	require.Empty(t, told, "an outage is told once, however often it was tried")
}

// A server that is stopped keeps its connections and says nothing.
func TestASilentSubscriptionIsAskedAndGivenUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, asked := miniredis.RunT(t), make(chan struct{}, 100)
	server.Server().SetPreHook(func(_ *miniserver.Peer, command string, _ ...string) bool {
		if command == "PING" {
			asked <- struct{}{}
		}
		return false
	})
	answers := make(chan bool, 1) // whether the server still does
	go relay(listener, server.Addr(), answers)
	t.Cleanup(func() { _ = listener.Close() })

	client := redis.Open(redis.Options{Addr: listener.Addr().String()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	told := make(chan error, 10)
	h := NewSubscriber(SubscriberOptions{Client: client, Reader: &reader{}, OnOutage: func(err error) { told <- err }})
	h.pingAfter, h.pause = 20*time.Millisecond, time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	for range 3 {
		<-asked
	}
	require.Empty(t, told, "silence that is answered is peace")
	answers <- false
	require.ErrorContains(t, <-told, "listening to progress")
	cancel()
	require.NoError(t, <-ended)
}

func TestProjectOf(t *testing.T) {
	t.Parallel()
	for channel, want := range map[string]string{
		"project:p:u": "p", "project:a:b:u": "a:b", "project:p:": "p", "project:p": "", "project::u": "", "other:p:u": "", "": "",
	} {
		got, ok := projectOf(channel)
		require.Equal(t, want, got, channel)
		require.Equal(t, want != "", ok, channel)
	}
	got, _ := projectOf(projectChannel("a:b", "u"))
	require.Equal(t, "a:b", got)
}
