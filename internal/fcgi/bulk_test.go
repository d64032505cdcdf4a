package fcgi

import (
	"bytes"
	"io"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newFile makes a file with n octets in it.
func newFile(t *testing.T, n int) (name string, content []byte) {
	t.Helper()
	content = make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(content)
	name = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name, content
}

func TestAFileArrivesWhole(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for _, n := range []int{0, 1, bulkFrom - 1, bulkFrom, fileContent, fileContent + 1, 3*fileContent + bulkFrom - 1, 5_000_000} {
			name, content := newFile(t, n)
			f := serve(t, network, func(w http.ResponseWriter, r *http.Request) {
				file, err := os.Open(name)
				assert.NoError(t, err)
				defer file.Close()
				w.Header().Set("Content-Length", strconv.Itoa(n))
				sent, err := io.Copy(w, &io.LimitedReader{R: file, N: int64(n)})
				assert.NoError(t, err)
				assert.EqualValues(t, n, sent)
			}).dial()
			for range 2 {
				f.send(get(1, true, "/"))
				out, status := f.answer(1)
				assert.True(t, out == "Status: 200 OK\r\nContent-Length: "+strconv.Itoa(n)+"\r\n\r\n"+string(content), "%s: %d octets", network, n)
				assert.Equal(t, statusRequestComplete, status)
			}
		}
	}
}

func TestAFileThatIsTooLongForItsAnswerIsCut(t *testing.T) {
	name, content := newFile(t, 300_000)
	f := serve(t, "tcp", func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(name)
		assert.NoError(t, err)
		defer file.Close()
		w.Header().Set("Content-Length", "100000")
		_, err = io.Copy(w, &io.LimitedReader{R: file, N: 300_000})
		assert.ErrorIs(t, err, http.ErrContentLength)
	}).dial()
	f.send(get(1, true, "/"))
	out, _ := f.answer(1)
	assert.True(t, out == "Status: 200 OK\r\nContent-Length: 100000\r\n\r\n"+string(content[:100_000]))
}

func TestAFileThatBecomesShorterLeavesNoWholeAnswer(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		name, _ := newFile(t, 300_000)
		f := serve(t, network, func(w http.ResponseWriter, r *http.Request) {
			file, err := os.Open(name)
			assert.NoError(t, err)
			defer file.Close()
			w.Header().Set("Content-Length", "300000")
			assert.NoError(t, os.Truncate(name, 200_000))
			_, err = io.Copy(w, &io.LimitedReader{R: file, N: 300_000})
			assert.Error(t, err)
		}).dial()
		f.send(get(1, true, "/"))
		_, _, err := f.tryAnswer(1)
		assert.Error(t, err)
	}
}

func TestWhatIsReadOrWrittenInLongPiecesArrivesWhole(t *testing.T) {
	for _, n := range []int{bulkFrom, bulkContent, bulkContent + 1, 1_000_000} {
		content := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
		for name, write := range map[string]func(w http.ResponseWriter){
			"read":    func(w http.ResponseWriter) { io.Copy(w, struct{ io.Reader }{bytes.NewReader(content)}) },
			"written": func(w http.ResponseWriter) { w.Write(content[:10]); w.Write(content[10:]) },
			"flushed": func(w http.ResponseWriter) { w.Write(content[:n/2]); w.(http.Flusher).Flush(); w.Write(content[n/2:]) },
		} {
			f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { write(w) }).dial()
			f.send(get(1, true, "/"))
			out, _ := f.answer(1)
			assert.True(t, out == okHead+string(content), "%s: %d octets", name, n)
		}
	}
}
