// Package redispubsub is how those who watch a project hear of its progress, by Redis pub/sub:
//
//	project:{project_id}:{user_id}   {"type","payload":{project_id,status,total,done,errors,overall_progress_percent}}
//	user_noti:{user_id}              the same with progress_percent, for older listeners
//
// type is project_progress, and project_completed once the status is DONE. Pub/sub knows no database numbers.
//
// Announcer publishes, for the WebSocket service and for every process of this one. Hub listens, with one subscription
// per process however many watch: a message, a neighbour's too, is only a hint that something has changed, and what has
// changed is read. It does not promise that a message arrives; whoever watches sees a change after 15 s at the latest.
package redispubsub

import "strings"

// everyProject is the pattern that matches the first kind of channel. Nobody else spells these names.
const everyProject = "project:*"

func projectChannel(projectID, owner string) string { return "project:" + projectID + ":" + owner }

func userChannel(owner string) string { return "user_noti:" + owner }

// projectOf takes the project's id out of the name of its channel. A project's id may have colons in it, a user's has
// none.
func projectOf(channel string) (projectID string, ok bool) {
	rest, ok := strings.CutPrefix(channel, "project:")
	if !ok {
		return "", false
	}
	end := strings.LastIndexByte(rest, ':')
	if end <= 0 {
		return "", false
	}
	return rest[:end], true
}
