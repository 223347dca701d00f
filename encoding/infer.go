package encoding

type observed struct{}

func (s *ndjson) observe(f *field, b []byte, p int) int { return s.skip(b, p) }
