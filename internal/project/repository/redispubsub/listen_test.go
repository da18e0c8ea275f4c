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

// each runs test on miniredis, and on a real server if INTEGRATION is set. A real server is shared: every test has
// ids of its own.
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
	run("miniredis", func(t *testing.T) redis.Options { return patient(miniredis.RunT(t).Addr()) })
	if os.Getenv("INTEGRATION") != "" {
		run("redis", func(t *testing.T) redis.Options {
			require.NotEmpty(t, os.Getenv("REDIS_HOST"), "INTEGRATION is set but REDIS_HOST is not; run make test-integration")
			db, err := strconv.Atoi(os.Getenv("REDIS_CACHE_DB"))
			require.NoError(t, err)
			o := patient(net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT")))
			o.Password, o.DB = os.Getenv("REDIS_PASSWORD"), db
			return o
		})
	}
}

// patient are options of a client for which a busy machine is no outage.
func patient(addr string) redis.Options {
	const long = 10 * time.Second
	return redis.Options{Addr: addr, DialTimeout: long, ReadTimeout: long, WriteTimeout: long, PoolTimeout: long}
}

// listening starts s, waits for its subscription, and stops it at the end of the test.
func listening(t *testing.T, s *Subscriber) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	before, err := s.client.PubSubNumPat(ctx).Result()
	require.NoError(t, err)
	for before < 2 {
		before, err = s.client.PubSubNumPat(ctx).Result()
		require.NoError(t, err)
	}
}

// next waits for a progress that matches.
func next(t *testing.T, changes <-chan project.Progress, matches func(project.Progress) bool) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case p := <-changes:
			if matches(p) {
				return
			}
		case <-timeout:
			require.Fail(t, "no matching progress")
		}
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	t.Run("treats a message as a hint", func(t *testing.T) {
		each(t, func(t *testing.T, client *goredis.Client) {
			r, id := &reader{}, "proj:"+uuid.NewString()
			s := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(error) {}})
			listening(t, s)
			changes, stop := s.Watch(id)
			defer stop()
			next(t, changes, func(p project.Progress) bool { return p.Done == 0 })
			r.set(5, nil)
			for _, channel := range []string{"project:" + id, "project::user-1", "user_noti:" + id, "project:" + id + "x:user-1"} {
				require.NoError(t, client.Publish(context.Background(), channel, "{}").Err())
			}
			require.NoError(t, client.Publish(context.Background(), "project:"+id+":user-1", "any text of another service").Err())
			next(t, changes, func(p project.Progress) bool { return p.ProjectID == id && p.Done == 5 })
		})
	})
	// Not on a real server, which has the subscriptions of others.
	t.Run("has one subscription for a thousand watchers", func(t *testing.T) {
		t.Parallel()
		client := redis.Open(patient(miniredis.RunT(t).Addr()))
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		s := NewSubscriber(SubscriberOptions{Client: client, Reader: &reader{}, OnOutage: func(error) {}})
		listening(t, s)
		for i := range 1000 {
			_, stop := s.Watch(strconv.Itoa(i % 10))
			defer stop()
		}
		n, err := client.PubSubNumPat(context.Background()).Result()
		require.NoError(t, err)
		require.EqualValues(t, 2, n, "the patterns of both channels")
	})
	t.Run("renews a broken subscription and reads everything", func(t *testing.T) {
		t.Parallel()
		server := miniredis.RunT(t)
		client := redis.Open(patient(server.Addr()))
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		r, reports := &reader{}, make(chan error, 10)
		s := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(err error) { reports <- err }})
		s.pause = time.Millisecond
		listening(t, s)
		changes, stop := s.Watch("p")
		defer stop()
		next(t, changes, func(project.Progress) bool { return true })

		server.Close()
		require.Error(t, <-reports)
		r.set(4, nil) // without a hint
		require.NoError(t, server.Restart())
		require.NoError(t, <-reports)
		next(t, changes, func(p project.Progress) bool { return p.Done == 4 })
		require.Empty(t, reports, "an outage is reported once")
	})
	// A suspended server keeps its connections and never replies.
	t.Run("pings a silent subscription and gives it up", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		server, pings := miniredis.RunT(t), make(chan struct{}, 100)
		server.Server().SetPreHook(func(_ *miniserver.Peer, command string, _ ...string) bool {
			if command == "PING" {
				pings <- struct{}{}
			}
			return false
		})
		replies := make(chan bool, 1) // whether the server replies
		go relay(listener, server.Addr(), replies)
		t.Cleanup(func() { _ = listener.Close() })

		client := redis.Open(redis.Options{Addr: listener.Addr().String()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		reports := make(chan error, 10)
		s := NewSubscriber(SubscriberOptions{Client: client, Reader: &reader{}, OnOutage: func(err error) { reports <- err }})
		s.pingAfter, s.pause = time.Second, time.Millisecond // a reply takes less, however busy the machine
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for range 2 {
			<-pings
		}
		require.Empty(t, reports, "a reply to the ping is no outage")
		replies <- false
		require.ErrorContains(t, <-reports, "listening to progress")
		cancel()
		require.NoError(t, <-ended)
	})
}

// Which channels another process publishes on is its own setting.
func TestChannels(t *testing.T) {
	t.Parallel()
	for _, channels := range []Channels{ProjectChannel, UserChannel, BothChannels} {
		t.Run("a watcher hears of a change on "+string(channels), func(t *testing.T) {
			each(t, func(t *testing.T, client *goredis.Client) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				r, id := &reader{}, uuid.NewString()
				s := NewSubscriber(SubscriberOptions{Client: client, Reader: r, OnOutage: func(error) {}})
				p := NewPublisher(PublisherOptions{Client: client, Channels: channels, OnOutage: func(error) {}})
				listening(t, s)
				go func() { _ = p.Run(ctx) }()
				changes, stop := s.Watch(id)
				defer stop()
				next(t, changes, func(project.Progress) bool { return true })
				r.set(9, nil)
				p.Publish("user-1", at(id, 9))
				next(t, changes, func(p project.Progress) bool { return p.Done == 9 })
			})
		})
	}
	t.Run("have the owner's id as tokens have it", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"project:P:019c1000-0000-7000-8000-00000000000a", "user_noti:019c1000-0000-7000-8000-00000000000a"},
			BothChannels.of("P", "019C1000-0000-7000-8000-00000000000A"))
		require.Equal(t, []string{"project:P:User-1"}, ProjectChannel.of("P", "User-1"), "what is no uuid is opaque")
		require.Equal(t, []string{"user_noti:u"}, UserChannel.of("P", "u"))
	})
}

func TestProjectOf(t *testing.T) {
	t.Parallel()
	t.Run("returns the project id of a channel", func(t *testing.T) {
		t.Parallel()
		for channel, want := range map[string]string{
			"project:p:u": "p", "project:a:b:u": "a:b", "project:p:": "p", "project:p": "", "project::u": "", "other:p:u": "", "": "",
		} {
			got, ok := projectOf(channel, "{}")
			require.Equal(t, want, got, channel)
			require.Equal(t, want != "", ok, channel)
		}
		got, _ := projectOf(ProjectChannel.of("a:b", "u")[0], "")
		require.Equal(t, "a:b", got)
	})
	t.Run("returns the project id of a user's message", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]string{
			`{"payload":{"project_id":"a:b"}}`: "a:b", `{"payload":{}}`: "", `{"payload":"hello"}`: "", `{}`: "", `hello`: "", "": "",
		} {
			got, ok := projectOf("user_noti:u", text)
			require.Equal(t, want, got, text)
			require.Equal(t, want != "", ok, text)
		}
	})
}
