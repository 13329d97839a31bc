package auth

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// Sizes of RSA keys in bits. Below, they can be factored; above, one check
// costs too much.
const (
	minRSA = 2048
	maxRSA = 8192
)

// smallPrimes are the primes of the published test for weak Infineon keys.
var smallPrimes = []uint64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
	113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// checkRSA refuses RSA keys that are too small or large, have an exponent that
// is even or 1, share a small factor, or carry the mark of ROCA.
func checkRSA(k *rsa.PublicKey) error {
	if n := k.N.BitLen(); n < minRSA || n > maxRSA {
		return fmt.Errorf("RSA key has %d bits, not %d to %d", n, minRSA, maxRSA)
	}
	if k.E < 3 || k.E%2 == 0 || int64(k.E) > 1<<31-1 {
		return errors.New("RSA exponent is not an odd number from 3 to 2147483647")
	}
	if k.N.Bit(0) == 0 {
		return errors.New("RSA modulus is even")
	}
	roca := true
	for _, p := range smallPrimes {
		rest := new(big.Int).Mod(k.N, new(big.Int).SetUint64(p)).Uint64()
		if rest == 0 {
			return fmt.Errorf("RSA modulus is divisible by %d", p)
		}
		roca = roca && isPowerOf65537(rest, p)
	}
	if roca {
		return errors.New("RSA key has the fingerprint of a broken generator (CVE-2017-15361)")
	}
	return nil
}

// isPowerOf65537 tells whether x is a power of 65537 modulo p. The primes of the
// broken generator are such powers modulo every small prime, and so is their
// product; that a sound modulus is one for all of smallPrimes is too unlikely
// to ever be seen.
func isPowerOf65537(x, p uint64) bool {
	g := uint64(65537) % p
	for power := uint64(1); ; {
		if power == x {
			return true
		}
		if power = power * g % p; power == 1 {
			return false
		}
	}
}
