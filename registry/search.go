package registry

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// maxWords bounds the words of a query that are looked for.
const maxWords = 16

// textsOf gives what a search looks at in a registration, from the weightiest to
// the least (see store.Agent).
func textsOf(p *arc.Registration) [4]string {
	var rest []string
	rest = append(rest, p.AgentType, p.AgentID)
	rest = append(rest, p.Features...)
	rest = append(rest, p.PolicyTags...)
	for name, value := range p.Metadata {
		rest = append(rest, name)
		switch v := value.(type) {
		case string:
			rest = append(rest, v)
		case []any:
			for _, item := range v {
				if s, ok := item.(string); ok {
					rest = append(rest, s)
				}
			}
		}
	}
	slices.Sort(rest) // the order of a map is nobody's
	return [4]string{p.Name, strings.Join(p.Capabilities, " "), p.ContextBrief, strings.Join(rest, " ")}
}

// wordsOf gives the distinct words of the texts, sorted: letters and digits in
// lower case.
func wordsOf(texts [4]string) []string {
	var words []string
	for _, t := range texts {
		words = append(words, split(t)...)
	}
	return unique(words)
}

func split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// endings are cut off the words of a query, so that "processing" finds what
// processes.
var endings = []string{"ization", "ations", "ation", "ings", "ing", "ers", "er", "ies", "es", "ed", "s", "e"}

// stems gives what words must begin with to be found by a query.
func stems(query string) []string {
	var found []string
	for _, word := range split(query) {
		if len([]rune(word)) < 2 {
			continue
		}
		for _, ending := range endings {
			if stem, ok := strings.CutSuffix(word, ending); ok && len(stem) >= 4 {
				word = stem
				break
			}
		}
		if !slices.Contains(found, word) {
			found = append(found, word)
		}
		if len(found) == maxWords {
			break
		}
	}
	return found
}

// share tells how many of the stems an agent's words have, 0 to 1.
func (a *agent) share(stems []string) float64 {
	n := 0
	for _, stem := range stems {
		at, _ := slices.BinarySearch(a.words, stem)
		if at < len(a.words) && strings.HasPrefix(a.words[at], stem) {
			n++
		}
	}
	return float64(n) / float64(len(stems))
}

// found is an agent on its way into an answer.
type found struct {
	info  arc.AgentInfo
	share float64
	key   float64 // that it is sorted by
	rank  float64
}

// Search finds living agents by words (POST /agents/search and /public/search,
// contract section 4.4): the store ranks, and similarity is the share of the
// query's words that an agent's name, capabilities, description and the rest
// have. Weighted, a good reputation counts up to 1.3 times and none 0.7 times.
//
// Errors: validation-failed.
func (r *Registry) Search(ctx context.Context, p arc.SearchParams, public bool) ([]arc.SearchHit, error) {
	hits, err := r.search(ctx, p, public)
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeRefused
	}
	r.cfg.Observe(Happening{Event: "search", Outcome: outcome})
	return hits, err
}

func (r *Registry) search(ctx context.Context, p arc.SearchParams, public bool) ([]arc.SearchHit, error) {
	if issues := checkSearch(&p); len(issues) > 0 {
		return nil, invalid(issues)
	}
	prefixes := stems(p.Query)
	if len(prefixes) == 0 || public && r.cfg.Public == "off" {
		return []arc.SearchHit{}, nil
	}
	// First those with all words, so that none of them is cut off behind others that
	// have one word in a weightier place; then those with as many as are needed. Weighted,
	// one of the latter may still be the better.
	q := store.Search{Prefixes: prefixes, Least: len(prefixes), Type: p.AgentType}
	all, err := r.gather(ctx, &p, q)
	if err != nil {
		return nil, err
	}
	if least := int(math.Ceil(*p.MinSimilarity * float64(len(prefixes)))); (len(all) < *p.TopK || p.Weighted) && least < len(prefixes) {
		q.Least = least
		more, err := r.gather(ctx, &p, q)
		if err != nil {
			return nil, err
		}
		all = with(all, more)
	}
	return r.answer(all, &p, public), nil
}

// with adds those that are not there yet. What is there stays: among many agents
// with fewer words the store may have left it out.
func with(all, more []found) []found {
	there := make(map[string]bool, len(all))
	for _, f := range all {
		there[f.info.AgentID] = true
	}
	for _, f := range more {
		if !there[f.info.AgentID] {
			all = append(all, f)
		}
	}
	return all
}

// gather finds agents that pass. The store does not know who is alive and able,
// so it is asked for more until there are enough.
func (r *Registry) gather(ctx context.Context, p *arc.SearchParams, q store.Search) ([]found, error) {
	filter := Filter{Type: p.AgentType, Status: arc.AgentAlive, AllOf: p.Capabilities}
	for q.Limit = 5**p.TopK + 50; ; q.Limit *= 4 {
		ranked, err := r.store.SearchAgents(ctx, q)
		if err != nil {
			return nil, err
		}
		all := r.resolve(ranked, filter, q.Prefixes, *p.MinSimilarity)
		if len(all) >= *p.TopK || len(ranked) < q.Limit || ctx.Err() != nil {
			return all, ctx.Err()
		}
	}
}

// resolve turns hits of the store into agents that pass.
func (r *Registry) resolve(ranked []store.Hit, filter Filter, stems []string, least float64) []found {
	now, d := r.now(), &r.agents
	var all []found
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, hit := range ranked {
		a := d.byID[hit.ID]
		if a == nil || !filter.takes(a, a.status(now, r.cfg.HeartbeatTimeout)) {
			continue
		}
		share := a.share(stems)
		if share < least {
			continue
		}
		all = append(all, found{info: r.view(a, now, true, false), share: share, key: share, rank: hit.Rank})
	}
	return all
}

// answer sorts, cuts and shows.
func (r *Registry) answer(all []found, p *arc.SearchParams, public bool) []arc.SearchHit {
	if p.Weighted {
		for i := range all {
			all[i].key *= 0.7 + 0.6*all[i].info.Metrics.ReputationScore
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(b.rank, a.rank))
	})
	hits := []arc.SearchHit{}
	for _, f := range all[:min(len(all), *p.TopK)] {
		shown, metrics := f.info.Registration, f.info.Metrics
		if public && r.cfg.Public != "full" {
			shown, _ = r.publicCard(shown)
			metrics = nil
		}
		hits = append(hits, arc.SearchHit{
			ID: shown.AgentID, Name: shown.Name, URL: shown.Endpoint, Capabilities: shown.Capabilities,
			Version: shown.Version, Owner: shown.Owner, Similarity: f.share, Metrics: metrics,
		})
	}
	return hits
}
