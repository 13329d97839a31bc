package credential

// Secret reads a secret that is no credential of the store, such as an agent key,
// from where a flag says. It is without the blanks and line ends around it.
func (s *Store) Secret(o Origin) (string, error) { return s.read(o) }
