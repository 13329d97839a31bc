// Package arc holds the nouns of the ARC protocol, version 1.0, and does
// nothing with them. Server and client share it.
//
// ARC in one page:
//
//   - One endpoint, many agents. A caller posts an envelope ([Request]) that
//     names a method, the agent it speaks as (requestAgent) and the agent it
//     wants (targetAgent). The answer ([Response]) carries either a result or
//     an [Error].
//   - The same call may come in two envelopes: ARC's own ("arc":"1.0") and
//     JSON-RPC 2.0 ("jsonrpc":"2.0"). The answer comes in the envelope that was
//     asked in.
//   - A [Task] is long work given to an agent. It moves through the states of
//     [TaskStatus] and collects messages and artifacts. A task that waits for
//     its caller is in INPUT_REQUIRED and goes on when a message arrives.
//   - A [Chat] is a conversation: each message of the caller is one turn, and
//     the agent's answer comes whole or as a stream of pieces.
//   - A [Message] is what somebody says, in one or more [Part]s; an [Artifact]
//     is what a task produces.
//   - Everything that happens to a task or chat is an [Event] with a sequence
//     number of its own, stored in the commit that made it happen. Streams and
//     deliveries follow that log.
//   - Whatever goes wrong is an [Error] with a [Code]. One table, in code.go,
//     gives each code its name, title and HTTP status.
package arc
