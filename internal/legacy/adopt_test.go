package legacy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

// fakeSource handles a source's deliveries without a broker.
func fakeSource(t *testing.T, handle func(context.Context, event.Delivery) error) (s *source, calls *int) {
	t.Helper()
	w, _, calls := fakeWorker(t, handle)
	w.consumer.Queue.Source = "previous"
	return newSource(w, time.Hour), calls
}

func TestAnAdoptedMessageIsNamedOnceAndAckedOnceItIsThere(t *testing.T) {
	t.Parallel()
	s, calls := fakeSource(t, handled)
	ch := &fakeChannel{}
	var sent []event.Message
	s.options.Sender = senderFunc(func(m event.Message) error {
		require.Empty(t, ch.acked)
		if sent = append(sent, m); len(sent) == 1 {
			return event.ErrUnavailable // it may be there all the same
		}
		return nil
	})
	ctx := context.Background()
	s.handle(ctx, ctx, delivered("", 1, s.attach(ch), true))
	require.Equal(t, []uint64{1}, ch.acked)
	require.Len(t, sent, 2)
	require.NotEmpty(t, sent[0].ID)
	require.Equal(t, sent[0], sent[1], "the same message again, by the same name")
	require.Equal(t, "q", sent[0].RoutingKey)
	require.Empty(t, sent[0].Exchange)
	require.Equal(t, 1, sent[0].Moves())
	require.Zero(t, sent[0].Attempts())
	require.Zero(t, *calls)
	require.Equal(t, event.Decision{Action: adopt, Outcome: "adopted", Headers: map[string]string{
		event.HeaderMoves: "1", event.HeaderRoutingKey: "",
	}}, eventtest.Next(t, s.consumer.Observer.(*eventtest.Observer).Seen).Decision)
}

func TestAMessageThatOursHasBegunDoesNotGoBackToASource(t *testing.T) {
	t.Parallel()
	stop, end := context.WithCancel(context.Background())
	s, _ := fakeSource(t, func(context.Context, event.Delivery) error {
		end()
		return context.Canceled // cut off in the middle
	})
	var sent []event.Message
	s.options.Sender = senderFunc(func(m event.Message) error { sent = append(sent, m); return nil })
	ch := &fakeChannel{}
	s.handle(stop, context.Background(), delivered("evt_a", 1, s.attach(ch), false))
	require.Equal(t, []uint64{1}, ch.acked)
	require.Empty(t, ch.requeued)
	require.Len(t, sent, 1)
	require.Equal(t, "q", sent[0].RoutingKey)
	require.Zero(t, sent[0].Attempts(), "it has not failed")
}

func TestFinishedWorkOfASourceIsAckedAndNotAdopted(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"evt_a", ""} { // without an id it is known by its body
		s, calls := fakeSource(t, handled)
		ctx := context.Background()
		s.handle(ctx, ctx, delivered(id, 1, 1, false)) // no channel: the ack is lost
		ch := &fakeChannel{}
		s.handle(ctx, ctx, delivered(id, 1, s.attach(ch), true))
		require.Equal(t, []uint64{1}, ch.acked)
		require.Equal(t, 1, *calls)
	}
}

func sourceAdopted(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	ofThePreviousRelease := copyTo(q, "")
	ofThePreviousRelease.Body = []byte(`{"Subject":"without an id"}`)
	publishRaw(t, raw, copyTo(q, "with an id"), ofThePreviousRelease, copyTo(q, "untouched"))
	rawGet(t, raw, q.Source)
	second := rawGet(t, raw, q.Source)
	require.NoError(t, raw.Nack(second.DeliveryTag, true, true))

	r := startConsumer(t, brokerURL(t), startPublisher(t, brokerURL(t), q), time.Second, q, handled)
	var adoptions, works []eventtest.Observation
	for range 5 {
		switch seen := eventtest.Next(t, r.Seen); seen.Decision.Outcome {
		case "adopted":
			adoptions = append(adoptions, seen)
		case "handled":
			works = append(works, seen)
		}
	}
	require.Len(t, adoptions, 2)
	require.Len(t, works, 3)
	names := map[string]event.Delivery{}
	for _, w := range works {
		names[string(w.Delivery.Body)] = w.Delivery
	}
	untouched := names[`{"Subject":"untouched"}`]
	require.Equal(t, q.Source, untouched.Exchange)
	require.Zero(t, untouched.Moves())
	for _, body := range []string{`{"Subject":"with an id"}`, `{"Subject":"without an id"}`} {
		require.Contains(t, names, body)
		require.Empty(t, names[body].Exchange, "it was handled from our own queue")
		require.Equal(t, 1, names[body].Moves())
		require.Zero(t, names[body].Attempts())
		require.NotEmpty(t, names[body].ID)
		require.Equal(t, "text/plain", names[body].ContentType)
	}
	require.Equal(t, "with an id", names[`{"Subject":"with an id"}`].ID)
	r.stop(t)
	require.Zero(t, ready(t, raw, q.Source))
	require.Zero(t, ready(t, raw, q.Name))
}

func sourceRetried(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10, 50*time.Millisecond))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	decide := make(chan error)
	r := startConsumer(t, brokerURL(t), startPublisher(t, brokerURL(t), q), time.Second, q,
		func(context.Context, event.Delivery) error {
			select {
			case err := <-decide:
				return err
			case <-t.Context().Done(): // the test has failed
				return nil
			}
		})
	publishRaw(t, raw, copyTo(q, "twice"), copyTo(q, "never"))
	decide <- errors.New("not this time")
	require.Equal(t, event.Retry, eventtest.Next(t, r.Seen).Decision.Action)
	// From here on whatever reached the source would be an old consumer's, not ours.
	old := oldConsumer(t, raw, q.Source)
	awaitReaders(t, raw, q.Source, 2)
	decide <- event.Permanent(event.ReasonRejected, errors.New("never"))
	require.Equal(t, event.ReasonRejected, eventtest.Next(t, r.Seen).Decision.Outcome)
	decide <- nil
	again := eventtest.Next(t, r.Seen)
	require.Equal(t, "handled", again.Decision.Outcome)
	require.Equal(t, "twice", again.Delivery.ID)
	require.Equal(t, 1, again.Delivery.Attempts())
	require.Empty(t, again.Delivery.Exchange)
	require.Empty(t, old)
	letters, err := list(t, q.Name, q)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "never", letters[0].EventID)
}
