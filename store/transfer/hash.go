package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// digest is the hash of a table: SHA-256 over its rows in the order of the key, each
// value with its kind and length in front.
type digest struct {
	sum  hash.Hash
	rows int64
	buf  []byte
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

// Marks of the values in what is hashed.
const (
	markNone byte = iota
	markText
	markInt
	markFalse
	markTrue
	markBytes
)

func (d *digest) add(row Row) {
	b := d.buf[:0]
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, markNone)
		case string:
			b = binary.AppendUvarint(append(b, markText), uint64(len(v)))
			b = append(b, v...)
		case int64:
			b = binary.AppendVarint(append(b, markInt), v)
		case bool:
			if v {
				b = append(b, markTrue)
			} else {
				b = append(b, markFalse)
			}
		case []byte:
			b = binary.AppendUvarint(append(b, markBytes), uint64(len(v)))
			b = append(b, v...)
		}
	}
	d.sum.Write(b)
	d.rows++
	d.buf = b
}

func (d *digest) text() string { return hex.EncodeToString(d.sum.Sum(nil)) }

// Hash reads a table and hashes its rows.
func Hash(ctx context.Context, r Reader, t *Table) (Verified, error) {
	d, err := hashTable(ctx, r, t, func(int64) {})
	return Verified{Table: t.Name, Rows: d.rows, Hash: d.text()}, err
}

// hashTable reads a table and hashes it. step is told of each thousand rows.
func hashTable(ctx context.Context, r Reader, t *Table, step func(rows int64)) (*digest, error) {
	d := newDigest()
	err := r.Rows(ctx, t, func(row Row) error {
		if d.add(row); d.rows%batchRows == 0 {
			step(d.rows)
		}
		return nil
	})
	return d, err
}
