// Package redispubsub carries the changes of projects to live watchers, by Redis pub/sub, on the channels
//
//	project:{project_id}:{user_id}
//	user_noti:{user_id}
//
// with the message of docs/compatibility.md. Which of them are used is a setting ([Channels]): a receiver that joins
// messages waiting for one connection must hear each change once only. Pub/sub ignores database numbers.
//
// [Publisher] publishes for the WebSocket service and for every process of this service. [Subscriber] listens to both,
// whatever this process publishes on, with one subscription per process for any number of watchers. A message, of any
// service, is only a hint that a project changed: the subscriber then reads the project. The package does not promise
// that a message arrives; a watcher sees a change after 15 s at the latest.
package redispubsub

import (
	"encoding/json"
	"strings"

	"github.com/smap-platform/identity/internal/project"
)

// Channels are those that every change is published on.
type Channels string

// The channels, as PROGRESS_CHANNELS names them.
const (
	ProjectChannel Channels = "project"
	UserChannel    Channels = "user_noti"
	BothChannels   Channels = "both"
)

// The prefixes and patterns of all channels. The names of channels are spelt in this file only.
const (
	projectPrefix  = "project:"
	userPrefix     = "user_noti:"
	projectPattern = projectPrefix + "*"
	userPattern    = userPrefix + "*"
)

// Patterns returns the patterns of all channels, which a user of Redis needs the right to.
func Patterns() []string { return []string{projectPattern, userPattern} }

// of returns the channels for a project of owner. Receivers find the owner by the id in a token, so that the channel has
// it in the form which tokens have.
func (c Channels) of(projectID, owner string) []string {
	owner = project.CanonicalUser(owner)
	ofProject, ofUser := projectPrefix+projectID+":"+owner, userPrefix+owner
	switch c {
	case UserChannel:
		return []string{ofUser}
	case BothChannels:
		return []string{ofProject, ofUser}
	default:
		return []string{ofProject}
	}
}

// projectOf returns the project that a message is about. A channel's project id may contain colons, a user id does not;
// a user's channel carries messages of other services as well.
func projectOf(channel, text string) (projectID string, ok bool) {
	if rest, ofProject := strings.CutPrefix(channel, projectPrefix); ofProject {
		end := strings.LastIndexByte(rest, ':')
		if end <= 0 {
			return "", false
		}
		return rest[:end], true
	}
	var m struct {
		Payload struct {
			ProjectID string `json:"project_id"`
		} `json:"payload"`
	}
	err := json.Unmarshal([]byte(text), &m)
	return m.Payload.ProjectID, err == nil && m.Payload.ProjectID != ""
}
