package event

import "strings"

// Exchange is the one topic exchange all SMAP services share: durable, not auto-delete, no arguments (docs/events.md).
const Exchange = "smap.events"

// RoutingKey names a kind of event, most general word first, so that a queue can be bound to "email.#".
type RoutingKey string

// The keys this service publishes or consumes. The registry with producers and consumers is docs/events.md.
const (
	EmailVerificationRequested   RoutingKey = "email.verification.requested"
	EmailPasswordResetRequested  RoutingKey = "email.password_reset.requested"
	EmailAccountExistsRequested  RoutingKey = "email.account_exists.requested"
	EmailSecurityNoticeRequested RoutingKey = "email.security_notice.requested"
	UserVerified                 RoutingKey = "user.verified"
	UserDisabled                 RoutingKey = "user.disabled"
	UserEnabled                  RoutingKey = "user.enabled"
	UserDeleted                  RoutingKey = "user.deleted"
	SubscriptionCreated          RoutingKey = "subscription.created"
	SubscriptionCancelled        RoutingKey = "subscription.cancelled"
	SubscriptionStatusChanged    RoutingKey = "subscription.status_changed"

	InvitationRequested            RoutingKey = "invitation.requested"
	EmailProjectCompletedRequested RoutingKey = "email.project_completed.requested"
	EmailTrialEndingRequested      RoutingKey = "email.trial_ending.requested"
	ProjectCreated                 RoutingKey = "project.created" // the Project service's
	JobCompleted                   RoutingKey = "job.completed"
)

// Mandatory reports whether it is an error when no queue takes an event of this key. It is not for job.completed and
// user.*, which no queue of ours takes: while no other service is bound to them, they would be returned for ever.
func (k RoutingKey) Mandatory() bool {
	return k != JobCompleted && !strings.HasPrefix(string(k), "user.")
}

// AsksForMail reports whether events of this key carry personal data, codes or tokens. Their bodies are sealed in the
// outbox.
func (k RoutingKey) AsksForMail() bool {
	return strings.HasPrefix(string(k), "email.") || strings.HasPrefix(string(k), "invitation.")
}

// Mail returns the kind of mail that events of this key ask for: the key without what all of them share.
func (k RoutingKey) Mail() string {
	return strings.TrimSuffix(strings.TrimPrefix(string(k), "email."), ".requested")
}

// Action returns the key without its first word, as payload.action has it.
func (k RoutingKey) Action() string {
	_, action, _ := strings.Cut(string(k), ".")
	return action
}
