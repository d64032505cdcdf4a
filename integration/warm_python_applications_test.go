//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pythonApplications are scripts as they are written for the frameworks and libraries that Debian packages.
var pythonApplications = map[string]string{
	"bottle.cgi": `
from bottle import route, post, request, response, run, template, abort, redirect

@route('/')
@route('/<name:path>')
def page(name='nobody'):
    if name == 'gone': abort(410, 'It is gone.')
    if name == 'away': redirect('/elsewhere')
    response.set_cookie('seen', name)
    return template('<p>Hello {{name}}, you asked {{sorted(q.items())}} with {{c}}', name=name, q=request.query, c=request.get_cookie('old'))

@post('/<name>')
def form(name):
    upload = request.files.get('file')
    return {'form': sorted((k, v) for k, v in request.forms.allitems()), 'file': upload and [upload.raw_filename, len(upload.file.read())]}

run(server='cgi')
`,
	"flask.cgi": `
import os
from wsgiref.handlers import CGIHandler
from flask import Flask, request, jsonify, render_template, url_for

app = Flask(__name__, template_folder=os.path.dirname(os.path.abspath(__file__)))

@app.route('/')
def index():
    return render_template('page.html', names=request.args.getlist('name'), url=url_for('show', id=7))

@app.route('/show/<int:id>', methods=['GET', 'POST'])
def show(id):
    app.logger.warning('showing %d', id)
    return jsonify(id=id, form=request.form.to_dict(flat=False), json=request.get_json(silent=True), agent=request.headers.get('X-Agent'))

if __name__ == '__main__':
    CGIHandler().run(app)
`,
	"django.cgi": `
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ['DJANGO_SETTINGS_MODULE'] = 'site_settings'
from django.core.wsgi import get_wsgi_application
from wsgiref.handlers import CGIHandler
CGIHandler().run(get_wsgi_application())
`,
	"picture.cgi": `
import sys, os
from PIL import Image, ImageDraw
image = Image.new('RGB', (80, 40), 'white')
ImageDraw.Draw(image).text((5, 5), os.environ['QUERY_STRING'], fill='black')
print('Content-Type: image/png\n', flush=True)
image.save(sys.stdout.buffer, 'PNG')
`,
	"numbers.cgi": `
import cgi, numpy, sqlite3, lxml.etree
form = cgi.FieldStorage()
n = int(form.getfirst('n', '3'))
table = sqlite3.connect(':memory:')
table.execute('CREATE TABLE t (x)')
table.executemany('INSERT INTO t VALUES (?)', [(i,) for i in range(n)])
root = lxml.etree.Element('numbers')
for x, in table.execute('SELECT x FROM t ORDER BY x DESC'):
    lxml.etree.SubElement(root, 'n').text = str(x)
a = numpy.arange(n * n, dtype=float).reshape(n, n)
root.set('trace', repr(float(numpy.trace(a @ a.T))))
print('Content-Type: application/xml\n')
print(lxml.etree.tostring(root, pretty_print=True).decode())
`,
}

// Beside them.
var pythonModules = map[string]string{
	"page.html": "<h1>{{ names|join(', ') }}</h1><a href=\"{{ url }}\">seven</a>\n",
	"site_settings.py": `
import os
HERE = os.path.dirname(os.path.abspath(__file__))
SECRET_KEY = open(os.path.join(HERE, 'secret.txt')).read()
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'site_urls'
INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth']
MIDDLEWARE = ['django.middleware.common.CommonMiddleware', 'django.middleware.http.ConditionalGetMiddleware']
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': os.path.join(HERE, 'site.db')}}
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'DIRS': [HERE]}]
`,
	"site_urls.py": `
from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.template import engines
from django.urls import path

def page(request, name):
    template = engines['django'].from_string('<p>{{ name }} {{ get|safe }} {{ post }}')
    return HttpResponse(template.render({'name': name, 'get': sorted(request.GET.items()), 'post': sorted(request.POST.items())}))

def rows(request):
    with connection.cursor() as c:
        c.execute('SELECT 1 UNION SELECT 2')
        return JsonResponse({'rows': c.fetchall(), 'body': len(request.body)})

urlpatterns = [path('page/<name>', page), path('rows', rows)]
`,
	"secret.txt": "a secret",
}

func TestPythonApplicationsAnswerAlikeInAllModes(t *testing.T) {
	needs(t, "bottle", "flask", "django", "pil", "numpy", "lxml")
	for _, mode := range []string{"warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			dir := tempDir(t)
			paths := []string{}
			for name, text := range pythonApplications {
				writeFile(t, filepath.Join(dir, "app", name), "#!/usr/bin/python3\n"+strings.TrimPrefix(text, "\n"), 0o755)
				paths = append(paths, "/app/"+name+"/")
			}
			for name, text := range pythonModules {
				writeFile(t, filepath.Join(dir, "app", name), text, 0o644)
			}
			s := newSides(t, dir, mode, "  - {path: /app/, cgi: {dir: @DIR@/app}, mode: @MODE@, env: {PYTHONHASHSEED: \"0\"}}\n") // the order of sets
			s.warmUp(t, paths...)
			upload, ctype := multipartForm(t, []field{{name: "text", value: "é"}, {name: "file", value: strings.Repeat("\x00\xff", 40000), file: "f.bin", ctype: "application/octet-stream"}})
			post := func(path, ctype, body string) request {
				return request{method: "POST", path: path, body: body, header: map[string]string{"Content-Type": ctype}}
			}
			const form = "application/x-www-form-urlencoded"
			all := append(gets("/app/bottle.cgi/", "/app/bottle.cgi/you?a=1&b=%C3%A9", "/app/bottle.cgi/gone", "/app/bottle.cgi/away", "/app/bottle.cgi/a/b%20c",
				"/app/flask.cgi/?name=a&name=%3Cb%3E", "/app/flask.cgi/show/3", "/app/flask.cgi/none", "/app/flask.cgi",
				"/app/django.cgi/page/you?a=1", "/app/django.cgi/rows", "/app/django.cgi/none",
				"/app/picture.cgi?hello", "/app/picture.cgi?world", "/app/numbers.cgi", "/app/numbers.cgi?n=50"),
				post("/app/bottle.cgi/form", form, "a=1&b=2&a=%C3%A9"), post("/app/bottle.cgi/form", ctype, upload),
				post("/app/flask.cgi/show/4", form, "a=1&b=2&a=3"), post("/app/flask.cgi/show/5", "application/json", `{"a": [1, "é"]}`),
				post("/app/flask.cgi/", form, "a=1"), post("/app/django.cgi/page/form", form, "a=1&b=%26"), post("/app/django.cgi/rows", ctype, upload),
				post("/app/numbers.cgi", form, "n=7"),
				request{path: "/app/bottle.cgi/cookie", header: map[string]string{"Cookie": "old=1; seen=you"}},
				request{path: "/app/flask.cgi/show/6", header: map[string]string{"X-Agent": "me"}},
				request{method: "HEAD", path: "/app/flask.cgi/show/6"}, request{method: "DELETE", path: "/app/bottle.cgi/you"})
			s.assertSame(t, all...)
		})
	}
}

func TestAFileThatAPythonModuleReadsTakesEffectWhenItIsChanged(t *testing.T) {
	needs(t, "python3")
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "app", "hello.cgi"), "#!/usr/bin/python3\nimport settings\nprint('Content-Type: text/plain\\n')\nprint(settings.greeting)\n", 0o755)
	writeFile(t, filepath.Join(dir, "app", "settings.py"), "import configparser, os\nc = configparser.ConfigParser()\nc.read(os.path.join(os.path.dirname(__file__), 'settings.ini'))\ngreeting = c['words']['greeting']\n", 0o644)
	ini := filepath.Join(dir, "app", "settings.ini")
	writeFile(t, ini, "[words]\ngreeting = hello\n", 0o644)
	s := newSides(t, dir, "warm", "  - {path: /app/, cgi: {dir: @DIR@/app}, mode: @MODE@}\n")
	s.warmUp(t, "/app/hello.cgi")
	c := newClient(t, s.warm.url())
	require.Equal(t, "hello\n", c.get(t, "/app/hello.cgi").body)
	require.NoError(t, os.WriteFile(ini, []byte("[words]\ngreeting = good morning\n"), 0o644))
	require.Eventually(t, func() bool { return c.get(t, "/app/hello.cgi").body == "good morning\n" }, patience, 50*time.Millisecond)
	s.warmUp(t, "/app/hello.cgi")
	require.Equal(t, "good morning\n", c.get(t, "/app/hello.cgi").body)
}
