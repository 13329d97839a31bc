package postgres

import (
	"fmt"
	"slices"

	"github.com/arcd-io/arcd/store"
)

// RegistryStatements are the statements of the registry, by name. Parameters are $1, $2, …
func RegistryStatements() map[string]string {
	return map[string]string{
		"agents": listAgents, "changed agents": changedAgents, "changed marks": changedMarks,
		"changed revocations": changedRevocations, "gone agents": goneAgents, "gone marks": goneMarks,
		"words": findWords, "mark": findMark, "marks": listMarks,
		"prune marks": fmt.Sprintf(pruneMarks, 100), "prune revocations": fmt.Sprintf(pruneRevocations, 100), "prune audit": fmt.Sprintf(pruneAudit, 100),
		"old deletions": oldGone, "forget deletions": deleteGone,
		"lock lives": lockLives, "beats": putBeats,
		"drop words": dropWords, "put words": putWords, "update agent": updateAgent, "count again": countAgain,
		"delete words": deleteWords, "delete life": deleteLife, "delete agent": deleteAgent, "unmark": removeMark,
		"append again": putAuditAgain,
	}
}

// AuditStatement gives the statement of a page of the audit log, and its arguments.
func AuditStatement(q store.AuditQuery) (string, []any) { return selectAudit(&q) }

// MaxChanges is how many rows of a kind Changes gives at most.
const MaxChanges = maxChanges

// PrepareSession is prepareSession.
var PrepareSession = prepareSession

// MaxPostings is how many words of agents one search reads at most.
const MaxPostings = maxPostings

// Words gives the words of a text.
func Words(text string) []string { return slices.Collect(eachWord(text)) }

// Prefix gives from where to where words begin with a prefix; nothing if none can.
func Prefix(prefix string) (low, high string) {
	if low = prefixOf(prefix); low != "" {
		high = behind(low)
	}
	return low, high
}
