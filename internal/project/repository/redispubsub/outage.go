package redispubsub

// outage tells about a server that is away once, and once when it is back.
type outage struct {
	away bool
	tell func(err error)
}

func (o *outage) note(err error) {
	if (err != nil) == o.away {
		return
	}
	o.away = err != nil
	o.tell(err)
}
