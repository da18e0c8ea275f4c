package rabbitmq

// The states of an Inspection. A pointer or slice that is nil is unknown.

// ExchangeState is one exchange.
type ExchangeState struct {
	Name    string `json:"name"`
	Exists  bool   `json:"exists"`
	Type    string `json:"type,omitempty"` // empty when unknown
	Durable *bool  `json:"durable"`
	// Writers are the open connections that have published to it; one that has not yet is not seen.
	Writers []Writer `json:"writers"`
}

// ForeignWriters returns the writers that are not this service. It is empty while the writers are unknown.
func (e ExchangeState) ForeignWriters() (foreign []Writer) {
	for _, w := range e.Writers {
		if !w.Ours {
			foreign = append(foreign, w)
		}
	}
	return foreign
}

// Writer is one connection that publishes to an exchange.
type Writer struct {
	Ours       bool   `json:"ours"`             // by Client, which begins with event.Service
	Client     string `json:"client,omitempty"` // the name the connection gave itself, if it did
	Connection string `json:"connection"`       // the broker's name for it: its address and the broker's
}

// Name returns what a person can find the writer by.
func (w Writer) Name() string { return Reader{Client: w.Client, Connection: w.Connection}.Name() }

// QueueState is one queue.
type QueueState struct {
	Name      string `json:"name"`
	Exists    bool   `json:"exists"`
	Ready     int    `json:"ready"`     // messages waiting for a reader
	Unacked   *int   `json:"unacked"`   // messages a reader holds
	Consumers int    `json:"consumers"` // how many there are
	// Readers are the same, one by one.
	Readers []Reader `json:"readers"`
	// Arrived is how many messages were routed to the queue in the last 5 minutes.
	Arrived *int `json:"arrived_5m"`
}

// Ours returns how many readers are consumers of this service. It is 0 while the readers are unknown.
func (q QueueState) Ours() (n int) {
	for _, r := range q.Readers {
		if r.Ours {
			n++
		}
	}
	return n
}

// Foreign returns the readers that are not consumers of this service. It is empty while the readers are unknown.
func (q QueueState) Foreign() (foreign []Reader) {
	for _, r := range q.Readers {
		if !r.Ours {
			foreign = append(foreign, r)
		}
	}
	return foreign
}

// Reader is one consumer of a queue.
type Reader struct {
	Tag        string `json:"tag"`
	Ours       bool   `json:"ours"`                 // by the tag, which is event.Service
	Client     string `json:"client,omitempty"`     // the name its connection gave itself, if it did
	Connection string `json:"connection,omitempty"` // the broker's name for its connection: its address and the broker's
}

// Name returns what a person can find the reader by.
func (r Reader) Name() string {
	switch {
	case r.Client != "" && r.Connection != "":
		return r.Client + " at " + r.Connection
	case r.Connection != "":
		return r.Connection
	default:
		return r.Tag
	}
}

// Binding leads from one exchange to a queue or another exchange.
type Binding struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Kind        string `json:"kind"` // of the destination: queue or exchange
	Key         string `json:"key"`
}
