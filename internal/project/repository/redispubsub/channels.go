// Package redispubsub carries the changes of projects to live watchers, by Redis pub/sub:
//
//	project:{project_id}:{user_id}   {"type","payload":{project_id,status,total,done,errors,overall_progress_percent}}
//	user_noti:{user_id}              the same with progress_percent, for older listeners
//
// The type is project_completed once the status is DONE, and project_progress before. Pub/sub ignores database numbers.
//
// [Publisher] publishes for the WebSocket service and for every process of this service. [Subscriber] listens, with
// one subscription per process for any number of watchers. A message, of any service, is only a hint that a project
// changed: the subscriber then reads the project. The package does not promise that a message arrives; a watcher sees
// a change after 15 s at the latest.
package redispubsub

import "strings"

// projectPattern matches the channels of all projects. The names of channels are spelt in this file only.
const projectPattern = "project:*"

func projectChannel(projectID, owner string) string { return "project:" + projectID + ":" + owner }

func userChannel(owner string) string { return "user_noti:" + owner }

// projectOf returns the project id in the name of a project's channel. A project id may contain colons, a user id does
// not.
func projectOf(channel string) (projectID string, ok bool) {
	rest, ok := strings.CutPrefix(channel, "project:")
	end := strings.LastIndexByte(rest, ':')
	if !ok || end <= 0 {
		return "", false
	}
	return rest[:end], true
}
