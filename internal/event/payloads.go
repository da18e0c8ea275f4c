package event

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// MailRequest is the data of an event that asks for a mail.
type MailRequest interface {
	Payload
	To() string // the recipient's address
}

// VerificationRequested is the data of email.verification.requested: a one-time code to be mailed.
type VerificationRequested struct {
	UserID    string    `json:"user_id"`
	Recipient string    `json:"recipient"`
	OTPCode   string    `json:"otp_code"` // 6 digits
	Locale    string    `json:"locale"`   // en | vi
	ExpiresAt time.Time `json:"expires_at"`
}

// Validate names the first missing field.
func (d VerificationRequested) Validate() error {
	return firstMissing(
		field{"user_id", d.UserID == ""}, field{"recipient", d.Recipient == ""}, field{"otp_code", d.OTPCode == ""},
		field{"expires_at", d.ExpiresAt.IsZero()},
	)
}

func (d VerificationRequested) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d VerificationRequested) To() string { return d.Recipient }

// PasswordResetRequested is the data of email.password_reset.requested: a one-time code with which a new password can be
// set, to be mailed.
type PasswordResetRequested VerificationRequested

// Validate names the first missing field.
func (d PasswordResetRequested) Validate() error { return VerificationRequested(d).Validate() }

func (d PasswordResetRequested) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d PasswordResetRequested) To() string { return d.Recipient }

// AccountExistsMail is the data of email.account_exists.requested: a notice to a user that their address was registered
// once more.
type AccountExistsMail struct {
	UserID    string `json:"user_id"`
	Recipient string `json:"recipient"`
	Locale    string `json:"locale"` // en | vi
}

// Validate names the first missing field.
func (d AccountExistsMail) Validate() error {
	return firstMissing(field{"user_id", d.UserID == ""}, field{"recipient", d.Recipient == ""})
}

func (d AccountExistsMail) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d AccountExistsMail) To() string { return d.Recipient }

// The kinds of [SecurityNotice].
const (
	NoticePasswordChanged = "password_changed"
	NoticePasswordReset   = "password_reset"
	NoticeAccountDisabled = "account_disabled"
	NoticeAccountDeleted  = "account_deleted"
)

// SecurityNotice is the data of email.security_notice.requested: a notice to a user of what was done to their account.
type SecurityNotice struct {
	UserID     string    `json:"user_id"`
	Recipient  string    `json:"recipient"`
	Locale     string    `json:"locale"` // en | vi
	Kind       string    `json:"kind"`
	OccurredAt time.Time `json:"occurred_at"`
}

// Validate names the first missing field.
func (d SecurityNotice) Validate() error {
	return firstMissing(field{"user_id", d.UserID == ""}, field{"recipient", d.Recipient == ""},
		field{"kind", d.Kind == ""}, field{"occurred_at", d.OccurredAt.IsZero()})
}

func (d SecurityNotice) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d SecurityNotice) To() string { return d.Recipient }

// UserVerifiedData is the data of user.verified: a user has proven their address, and is active from then on.
type UserVerifiedData struct {
	UserID     string    `json:"user_id"`
	OccurredAt time.Time `json:"occurred_at"`
}

// Validate names the first missing field.
func (d UserVerifiedData) Validate() error {
	return firstMissing(field{"user_id", d.UserID == ""}, field{"occurred_at", d.OccurredAt.IsZero()})
}

func (d UserVerifiedData) checkIDs() error { return checkUserID(d.UserID) }

// UserDisabledData is the data of user.disabled: an account is out of use until it is enabled.
type UserDisabledData UserVerifiedData

// Validate names the first missing field.
func (d UserDisabledData) Validate() error { return UserVerifiedData(d).Validate() }

func (d UserDisabledData) checkIDs() error { return checkUserID(d.UserID) }

// UserEnabledData is the data of user.enabled: an account that was disabled is in use again.
type UserEnabledData UserVerifiedData

// Validate names the first missing field.
func (d UserEnabledData) Validate() error { return UserVerifiedData(d).Validate() }

func (d UserEnabledData) checkIDs() error { return checkUserID(d.UserID) }

// UserDeletedData is the data of user.deleted: an account is gone, and its address is free.
type UserDeletedData struct {
	UserID     string    `json:"user_id"`
	OccurredAt time.Time `json:"occurred_at"`
	EraseAt    time.Time `json:"erase_at"` // when personal data are erased here
}

// Validate names the first missing field.
func (d UserDeletedData) Validate() error {
	return firstMissing(field{"user_id", d.UserID == ""}, field{"occurred_at", d.OccurredAt.IsZero()},
		field{"erase_at", d.EraseAt.IsZero()})
}

func (d UserDeletedData) checkIDs() error { return checkUserID(d.UserID) }

// InvitationMail is the data of invitation.requested: a token to be mailed. The envelope's project_id is
// that of the batch.
type InvitationMail struct {
	UserID    string    `json:"user_id"`
	Recipient string    `json:"recipient"`
	Token     string    `json:"token"`  // URL-safe, at least 128 bit
	Locale    string    `json:"locale"` // en | vi
	ExpiresAt time.Time `json:"expires_at"`
}

// Validate names the first missing field.
func (d InvitationMail) Validate() error {
	return firstMissing(
		field{"user_id", d.UserID == ""}, field{"recipient", d.Recipient == ""}, field{"token", d.Token == ""},
		field{"expires_at", d.ExpiresAt.IsZero()},
	)
}

func (d InvitationMail) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d InvitationMail) To() string { return d.Recipient }

// ProjectCompletedMail is the data of email.project_completed.requested: a mail that a project is done, to its owner.
type ProjectCompletedMail struct {
	Recipient string `json:"recipient"`
	Locale    string `json:"locale"` // en | vi
	ProjectID string `json:"project_id"`
	Total     int64  `json:"total"`
	Done      int64  `json:"done"`   // failures included
	Errors    int64  `json:"errors"` // those of Done that failed
}

// Validate names the first missing field.
func (d ProjectCompletedMail) Validate() error {
	return firstMissing(field{"recipient", d.Recipient == ""}, field{"project_id", d.ProjectID == ""})
}

func (d ProjectCompletedMail) checkIDs() error { return checkProjectID(d.ProjectID) }

// To implements [MailRequest].
func (d ProjectCompletedMail) To() string { return d.Recipient }

// TrialEndingMail is the data of email.trial_ending.requested: a reminder that a trial is about to end.
type TrialEndingMail struct {
	UserID    string    `json:"user_id"`
	Recipient string    `json:"recipient"`
	Locale    string    `json:"locale"` // en | vi
	PlanCode  string    `json:"plan_code"`
	TrialEnd  time.Time `json:"trial_end"`
	DaysLeft  int       `json:"days_left"` // when it was requested, rounded up
}

// Validate names the first missing field.
func (d TrialEndingMail) Validate() error {
	return firstMissing(
		field{"user_id", d.UserID == ""}, field{"recipient", d.Recipient == ""}, field{"plan_code", d.PlanCode == ""},
		field{"trial_end", d.TrialEnd.IsZero()}, field{"days_left", d.DaysLeft < 1},
	)
}

func (d TrialEndingMail) checkIDs() error { return checkUserID(d.UserID) }

// To implements [MailRequest].
func (d TrialEndingMail) To() string { return d.Recipient }

// JobCompletedData is the data of job.completed: every item of a project has been finished.
type JobCompletedData struct {
	ProjectID   string    `json:"project_id"`
	UserID      string    `json:"user_id,omitempty"` // the owner, where known
	Total       int64     `json:"total"`
	Done        int64     `json:"done"` // failures included
	Errors      int64     `json:"errors"`
	CompletedAt time.Time `json:"completed_at"`
}

// Validate names the first missing field.
func (d JobCompletedData) Validate() error {
	return firstMissing(field{"project_id", d.ProjectID == ""}, field{"completed_at", d.CompletedAt.IsZero()})
}

// ProjectCreatedData is what this service needs of project.created, whose producer, the Project service, writes it flat
// below payload. What else is in it is left alone.
type ProjectCreatedData struct {
	ProjectID string `json:"project_id"`
	UserID    string `json:"user_id"`
}

// Validate names the first missing field.
func (d ProjectCreatedData) Validate() error {
	return firstMissing(field{"project_id", d.ProjectID == ""}, field{"user_id", d.UserID == ""})
}

func (d ProjectCreatedData) checkIDs() error {
	return cmp.Or(checkProjectID(d.ProjectID), checkUserID(d.UserID))
}

// SubscriptionCreatedData is the data of subscription.created.
type SubscriptionCreatedData struct {
	Version           int64      `json:"version"` // rises with every change of any subscription of this user
	SubscriptionID    string     `json:"subscription_id"`
	UserID            string     `json:"user_id"`
	PlanCode          string     `json:"plan_code"`
	Status            string     `json:"status"`
	EffectiveUntil    *time.Time `json:"effective_until"` // null: open-ended
	TrialStart        *time.Time `json:"trial_start,omitempty"`
	TrialEnd          *time.Time `json:"trial_end,omitempty"`
	SubscriptionStart *time.Time `json:"subscription_start,omitempty"`
	SubscriptionEnd   *time.Time `json:"subscription_end,omitempty"`
	CreatedAt         time.Time  `json:"created_at"`
}

// Validate names the first missing field.
func (d SubscriptionCreatedData) Validate() error {
	return missingState(d.Version, d.SubscriptionID, d.UserID, d.PlanCode, "status", d.Status)
}

func (d SubscriptionCreatedData) checkIDs() error { return checkStateIDs(d.SubscriptionID, d.UserID) }

// SubscriptionCancelledData is the data of subscription.cancelled.
type SubscriptionCancelledData struct {
	Version            int64      `json:"version"`
	SubscriptionID     string     `json:"subscription_id"`
	UserID             string     `json:"user_id"`
	PlanCode           string     `json:"plan_code"`
	PreviousStatus     string     `json:"previous_status"`
	NewStatus          string     `json:"new_status"`
	CancelledAt        time.Time  `json:"cancelled_at"`
	CancellationReason string     `json:"cancellation_reason"`
	EffectiveUntil     *time.Time `json:"effective_until"`
	AdminUserID        string     `json:"admin_user_id,omitempty"` // set when an administrator did it for the user
}

// Validate names the first missing field.
func (d SubscriptionCancelledData) Validate() error {
	return missingState(d.Version, d.SubscriptionID, d.UserID, d.PlanCode, "new_status", d.NewStatus)
}

func (d SubscriptionCancelledData) checkIDs() error { return checkStateIDs(d.SubscriptionID, d.UserID) }

// SubscriptionStatusChangedData is the data of subscription.status_changed.
type SubscriptionStatusChangedData struct {
	Version          int64      `json:"version"`
	SubscriptionID   string     `json:"subscription_id"`
	UserID           string     `json:"user_id"`
	PlanCode         string     `json:"plan_code"`
	PreviousStatus   string     `json:"previous_status"`
	NewStatus        string     `json:"new_status"`
	EffectiveUntil   *time.Time `json:"effective_until"`
	TransitionReason string     `json:"transition_reason"`
}

// Validate names the first missing field.
func (d SubscriptionStatusChangedData) Validate() error {
	return missingState(d.Version, d.SubscriptionID, d.UserID, d.PlanCode, "new_status", d.NewStatus)
}

func (d SubscriptionStatusChangedData) checkIDs() error {
	return checkStateIDs(d.SubscriptionID, d.UserID)
}

type field struct {
	name    string
	missing bool
}

func firstMissing(fields ...field) error {
	for _, f := range fields {
		if f.missing {
			return fmt.Errorf("data lacks %s", f.name)
		}
	}
	return nil
}

func missingState(version int64, subscriptionID, userID, planCode, statusName, status string) error {
	if version < 1 {
		return errors.New("data lacks version, or it is below 1")
	}
	return firstMissing(field{"subscription_id", subscriptionID == ""}, field{"user_id", userID == ""},
		field{"plan_code", planCode == ""}, field{statusName, status == ""})
}
