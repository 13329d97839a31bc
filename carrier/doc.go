// Package carrier has agents outside this process do the work: agents that are
// called over HTTP, and agents that dialled in over WebSocket.
//
//	methods.Service
//	└─ Directory        which agents there are, and how each is reached now
//	   └─ conversation  one stretch of work: create, tell, ask, take over, cancel
//	      └─ Line       one call: HTTP, or a frame of a socket
//
// A conversation is a [methods.Runner] like those of agents in this process, so
// states, deadlines, attempts and ownership are those of package methods. Nothing
// that an agent says is taken on trust: it is bounded, made readable, and belongs
// to the task that it was asked about or to none.
package carrier
