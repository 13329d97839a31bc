package engine

import (
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/store"
)

// MaxHints is the most bytes that EncodeHints makes: what NOTIFY carries is below
// 8,000.
const MaxHints = 7900

// EncodeHints writes as many of the hints as have room, a line each, behind the name
// of the replica that sends them. It gives how many those are. Hints with a name that
// holds a tab or a line feed are left out: they are repaired by looking.
func EncodeHints(replica string, hs []store.Hint) (text string, n int) {
	var b strings.Builder
	b.WriteString(replica)
	for ; n < len(hs); n++ {
		line := encodeHint(&hs[n])
		if strings.ContainsAny(hs[n].Thread+hs[n].Ready, "\t\n") {
			continue
		}
		if n > 0 && b.Len()+1+len(line) > MaxHints {
			break
		}
		b.WriteByte('\n')
		b.WriteString(line)
	}
	return b.String(), n
}

func encodeHint(h *store.Hint) string {
	flags := ""
	for _, f := range []struct {
		set  bool
		flag string
	}{{h.Wake, "w"}, {h.Follow, "f"}, {h.Registry, "r"}} {
		if f.set {
			flags += f.flag
		}
	}
	return h.Thread + "\t" + strconv.FormatInt(h.Seq, 10) + "\t" + h.Ready + "\t" + flags
}

// DecodeHints calls f for each hint of a text, which are from elsewhere. What replica
// itself sent and what it does not understand it passes over.
func DecodeHints(replica, text string, f func(store.Hint)) {
	from, lines, _ := strings.Cut(text, "\n")
	if from == replica {
		return
	}
	for line := range strings.SplitSeq(lines, "\n") {
		fields := strings.Split(line, "\t")
		if len(fields) != 4 {
			continue
		}
		seq, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		f(store.Hint{
			Thread: fields[0], Seq: seq, Ready: fields[2], Elsewhere: true,
			Wake: strings.Contains(fields[3], "w"), Follow: strings.Contains(fields[3], "f"),
			Registry: strings.Contains(fields[3], "r"),
		})
	}
}

// Outbox gathers hints until somebody sends them. What comes of one thread meanwhile
// becomes one hint.
type Outbox struct {
	pending chan store.Hint
}

// maxPending is how many hints wait to be sent. Those beyond are dropped.
const maxPending = 4096

// NewOutbox makes one.
func NewOutbox() *Outbox {
	return &Outbox{pending: make(chan store.Hint, maxPending)}
}

// Put adds hints. It never blocks.
func (o *Outbox) Put(hs ...store.Hint) {
	for _, h := range hs {
		select {
		case o.pending <- h:
		default:
			return
		}
	}
}

// Next waits for hints, until done is closed: then it gives nil. Those of one thread
// are one.
func (o *Outbox) Next(done <-chan struct{}) []store.Hint {
	var hs []store.Hint
	select {
	case h := <-o.pending:
		hs = append(hs, h)
	case <-done:
		return nil
	}
	at := map[store.Hint]int{key(&hs[0]): 0}
	for {
		select {
		case h := <-o.pending:
			if i, there := at[key(&h)]; there {
				hs[i].Seq = max(hs[i].Seq, h.Seq)
				hs[i].Wake = hs[i].Wake || h.Wake
				continue
			}
			at[key(&h)] = len(hs)
			hs = append(hs, h)
		default:
			return hs
		}
	}
}

// key is what two hints have in common that can be one.
func key(h *store.Hint) store.Hint {
	return store.Hint{Thread: h.Thread, Ready: h.Ready, Follow: h.Follow, Registry: h.Registry}
}
