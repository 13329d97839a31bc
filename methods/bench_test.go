package methods_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// bench dispatches calls from 32 goroutines per processor pair, as that many
// connections would.
func bench(b *testing.B, w *world, method, to string, params func(n int64) string) {
	b.Helper()
	var n atomic.Int64
	p := alice()
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: method, To: to, Params: json.RawMessage(params(n.Add(1)))}, Principal: p}
			if _, err := w.s.Mux().Dispatch(context.Background(), c); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

const createParams = `{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"Summarise the quarterly report in three sentences."}]},"priority":"NORMAL","metadata":{"team":"finance"}}`

func BenchmarkCreateTask(b *testing.B) {
	w := start(b, methods.Config{})
	bench(b, w, "task.create", "idle", func(int64) string { return createParams })
}

func BenchmarkGetTask(b *testing.B) {
	w := start(b, methods.Config{})
	var ids []string
	for range 1000 {
		ids = append(ids, w.create("idle", "Summarise the quarterly report in three sentences."))
	}
	bench(b, w, "task.info", "idle", func(n int64) string { return `{"taskId":"` + ids[n%1000] + `"}` })
}
