package subscription

import (
	"slices"
	"time"
)

// Party is who changes a subscription.
type Party string

// The parties.
const (
	Owner         Party = "owner"
	Administrator Party = "administrator"
	Billing       Party = "billing"   // the billing service, by the internal key
	Scheduler     Party = "scheduler" // time itself
)

// Notice is the kind of event that reports a change (docs/events.md).
type Notice int

// The notices.
const (
	NoticeCreated Notice = iota + 1
	NoticeCancelled
	NoticeStatusChanged
)

// The reasons that the events give, where nobody gave a reason of their own.
const (
	ReasonTrialExpired  = "trial_expired"
	ReasonUpgraded      = "upgraded"
	ReasonPaymentFailed = "payment_failed"
	ReasonEnded         = "subscription_ended"
	ReasonReactivated   = "reactivated"
	ReasonRenewed       = "renewed" // the status stays; plan or end changes
)

// Change is a transition that has been made.
type Change struct {
	From, To Status // From is empty for a new subscription
	Notice   Notice
	Reason   string // empty for a cancellation by a person, who may give one
	AdminID  string // the administrator who did it for the user; empty otherwise
	ActorID  string // the user who did it, for the record; empty for services and time
}

type step struct{ from, to Status }

type rule struct {
	by     []Party
	notice Notice
	reason string
}

var (
	byOperator = []Party{Administrator, Billing}
	byAnybody  = []Party{Owner, Administrator, Billing}
	byTime     = []Party{Scheduler, Administrator}
)

// transitions is every transition there is. What is not here is refused. Expired is final.
var transitions = map[step]rule{
	{"", StatusTrialing}: {[]Party{Owner, Administrator}, NoticeCreated, ""}, // the owner's proof of their address starts it
	{"", StatusActive}:   {byOperator, NoticeCreated, ""},
	{"", StatusPastDue}:  {byOperator, NoticeCreated, ""},

	{StatusTrialing, StatusActive}:    {byOperator, NoticeStatusChanged, ReasonUpgraded},
	{StatusTrialing, StatusPastDue}:   {byOperator, NoticeStatusChanged, ReasonPaymentFailed},
	{StatusTrialing, StatusCancelled}: {byAnybody, NoticeCancelled, ""},
	{StatusTrialing, StatusExpired}:   {byTime, NoticeCancelled, ReasonTrialExpired},

	{StatusActive, StatusPastDue}:   {byOperator, NoticeStatusChanged, ReasonPaymentFailed},
	{StatusActive, StatusCancelled}: {byAnybody, NoticeCancelled, ""},
	{StatusActive, StatusExpired}:   {byTime, NoticeStatusChanged, ReasonEnded},

	{StatusPastDue, StatusActive}:    {byOperator, NoticeStatusChanged, ReasonReactivated},
	{StatusPastDue, StatusCancelled}: {byAnybody, NoticeCancelled, ""},
	{StatusPastDue, StatusExpired}:   {byTime, NoticeStatusChanged, ReasonEnded},

	{StatusCancelled, StatusActive}:  {byOperator, NoticeStatusChanged, ReasonReactivated}, // only while it is effective
	{StatusCancelled, StatusExpired}: {[]Party{Administrator}, NoticeStatusChanged, ReasonEnded},

	// The same status with another plan or end.
	{StatusCancelled, StatusCancelled}: {[]Party{Billing}, NoticeStatusChanged, ReasonRenewed},
	{StatusTrialing, StatusTrialing}:   {[]Party{Administrator}, NoticeStatusChanged, ReasonRenewed},
	{StatusActive, StatusActive}:       {byOperator, NoticeStatusChanged, ReasonRenewed},
	{StatusPastDue, StatusPastDue}:     {byOperator, NoticeStatusChanged, ReasonRenewed},
}

// Begin returns the change that makes a new subscription with the status of s, or [ErrStatus] when by may not.
func (s Subscription) Begin(by Party) (Change, error) {
	r, ok := transitions[step{"", s.Status}]
	if !ok || !slices.Contains(r.by, by) {
		return Change{}, ErrStatus
	}
	return Change{To: s.Status, Notice: r.notice, Reason: r.reason}, nil
}

// Transition takes s to another status, or to the same one when plan or times change, and says how that is reported. An
// illegal transition changes nothing and returns [ErrCannotCancel] when to is cancelled, else [ErrStatus]: one that is
// not in the table, or not by this party; a cancellation of what has ended; a reactivation of what was cancelled and has
// ended; an end that time has not brought.
//
// Times that the caller sets are set after it: it fixes only what the transition itself decides. Cancelling keeps the
// end that was granted; an open-ended subscription ends now. Expiring ends what had not ended yet.
func (s *Subscription) Transition(to Status, by Party, now time.Time, grace time.Duration) (Change, error) {
	refusal := ErrStatus
	if to == StatusCancelled {
		refusal = ErrCannotCancel
	}
	r, ok := transitions[step{s.Status, to}]
	entitled, until := s.Entitled(now, grace), s.EffectiveUntil(grace)
	switch {
	case !ok, !slices.Contains(r.by, by),
		to == StatusCancelled && !entitled,
		s.Status == StatusCancelled && to == StatusActive && !entitled,
		by == Scheduler && entitled:
		return Change{}, refusal
	}
	change := Change{From: s.Status, To: to, Notice: r.notice, Reason: r.reason}
	switch to {
	case StatusCancelled:
		if s.Status != StatusCancelled {
			s.keepEnd(until, now)
			s.CancelledAt = &now
		}
	case StatusExpired:
		if until == nil || now.Before(*until) {
			until = &now
		}
		s.keepEnd(until, now)
	case StatusActive:
		s.CancelledAt = nil
	case StatusPastDue:
		if s.Status != StatusPastDue {
			s.PastDueSince = &now
		}
	}
	if to != StatusPastDue {
		s.PastDueSince = nil
	}
	s.Status, s.UpdatedAt = to, now
	return change, nil
}

// keepEnd writes down the end that s has by the rule of its present status, which the next status may not know.
func (s *Subscription) keepEnd(until *time.Time, now time.Time) {
	switch {
	case s.Status == StatusTrialing:
		s.TrialEndsAt, s.EndsAt = until, nil // what comes next reads EndsAt first
	case until == nil:
		s.EndsAt = &now
	default:
		s.EndsAt = until
	}
}
