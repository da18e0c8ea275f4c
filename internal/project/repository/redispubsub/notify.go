package redispubsub

// outage reports the start and the end of an outage, each once.
type outage struct {
	active bool
	report func(err error)
}

func (o *outage) update(err error) {
	if (err != nil) == o.active {
		return
	}
	o.active = err != nil
	o.report(err)
}

// flag remembers that something happened until it is received. Raising it never blocks.
type flag chan struct{}

func newFlag() flag { return make(flag, 1) }

func (f flag) raise() {
	select {
	case f <- struct{}{}:
	default:
	}
}
