package auth

import "errors"

var (
	errOtherAlg  = errors.New("the key is for another algorithm")
	errAmbiguous = errors.New("no kid, and several keys that fit")
)

// pick chooses the one key that may check a token with this kid and alg. A
// token without a kid is taken only if exactly one key of the set fits its
// algorithm: a key is never found by trying. A nil set has no keys.
func (set *keySet) pick(kid, alg string) (*verifyKey, error) {
	if set == nil {
		return nil, errNoSuchKey
	}
	candidates := set.all
	if kid != "" {
		candidates = set.byID[kid]
	}
	var found *verifyKey
	for _, k := range candidates {
		if !k.fits(alg) {
			continue
		}
		if found != nil {
			return nil, errAmbiguous
		}
		found = k
	}
	switch {
	case found != nil:
		return found, nil
	case kid != "" && len(candidates) > 0:
		return nil, errOtherAlg
	}
	return nil, errNoSuchKey
}
