package auth

// Shown to the tests of this package only: the pre-parse, which is fuzzed alone,
// and the sizes of memories, which nothing else can see.

// Preparse is preparse; it tells the algorithm, the key id and the claims.
func Preparse(token string) (alg, kid string, claims map[string]any, err error) {
	u, err := preparse(token)
	if err != nil {
		return "", "", nil, err
	}
	return u.alg, u.keyID, u.claims, nil
}

// Remembered counts the tokens in the cache.
func (ps *Providers) Remembered() int { return ps.seen.len() }

// MaxMisses is the most unknown key ids that are remembered.
const MaxMisses = maxMisses
