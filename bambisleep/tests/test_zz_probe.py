import pytest, json
pytestmark = pytest.mark.django_db
from rest_framework_simplejwt.tokens import AccessToken
BODIES = {
 "empty": b"", "trunc": b'{"username"', "arr": b"[]", "str": b'"x"', "num": b"1", "null": b"null", "true": b"true",
 "nul": b'{"username":"a\\u0000b","email":"a@b.co","password":"a\\u0000bcdefghijkl","refresh":"a\\u0000"}',
 "sur": b'{"username":"a\\ud800b","email":"a\\ud800@b.co","password":"a\\ud800bcdefghijkl","refresh":"a\\ud800"}',
 "deep": b"["*100000, "deepobj": b'{"a":'*100000, "hugenum": b'{"username": ' + b"9"*10000 + b'}', "hugenum2": b"9"*10000, "nan": b'{"username": NaN, "refresh": NaN}', "inf": b'{"refresh": 1e999, "username":1e999,"password":Infinity}',
 "dup": b'{"username":"a","username":"b"}', "badutf8": b'{"username":"\xff\xfe"}', "utf16": '{"username":"x"}'.encode("utf-16"), "bom": b'\xef\xbb\xbf{"username":"x"}',
 "nested": b'{"username":{"a":1},"email":[1],"password":{"x":[]},"refresh":[{}]}', "keys": b'{"":1}', "longname": b'{"username":"'+b'a'*100000+b'","refresh":"'+b'a'*100000+b'"}',
 "rawnul": b'\x00\x00',
 "bigint": b'{"username":12345678901234567890123456789, "password": 1e308, "email":1, "refresh": 12345}',
}
@pytest.mark.parametrize("path", ["/auth/register","/auth/login","/auth/refresh","/auth/logout"])
def test_bodies(asgi, path):
    for n,b in BODIES.items():
        for ct in ("application/json","application/json; charset=nonsense","application/json; charset=utf-16", "text/plain","multipart/form-data; boundary=x","multipart/form-data","application/x-www-form-urlencoded", None,"", "json", "a/b/c;;;=", "*/*", "application/json; charset=\x00", "application/json;charset=utf-8;charset=utf-16", "application/json; charset=rot13", "application/json; charset=base64", "application/json; charset=idna"):
            h = {} if ct is None else {"content-type": ct}
            a = asgi.post(path, body=b, headers=h)
            if a.status >= 500 or a.status < 400 or a.headers.get("content-type") != "application/problem+json":
                print(path, n, ct, a.status, a.headers.get("content-type"), a.body[:80])
def test_methods(asgi):
    for path in ["/auth/register","/auth/me","/dora","/nope","/metrics","/health","/api/schema","/admin/login/", "/"]:
        for m in ["FOO","TRACE","CONNECT","get","PRI","", "OPTIONS","HEAD","DELETE", "PUT","PROPFIND", "A"*5000, "\x00"]:
            a = asgi.request(m, path)
            print(path, m[:10], a.status, a.headers.get("content-type"), a.body[:30])
def test_dora(asgi):
    for q in ["days=-1","days=1e999","days=NaN","days=0","days=99999999999999999999999","days="+"9"*5000, "from=0000-00-00","from=9999-12-31","from=0001-01-01&to=9999-12-31","from=9999-12-31&to=9999-12-31","from=0001-01-01&to=0001-01-01", "from=1971-01-01&to=1971-01-02","to=2024-01-01","service=%00","service=%ED%A0%80&environment=%FF","service=a&service=b","days=1&days=2","service="+"a"*5000,"service=","days=","from=&to=","%","%%%","&&&&","=","a"*100000,"days=3660","days=1.0","days=true","&".join(f"a{i}=1" for i in range(2000)),"days=%D9%A1","format=xml","format=json","days[]=1","from=2024-01-01T00:00:00&to=2024-01-02","days=%20"+"1"]:
        a = asgi.get("/dora", query=q)
        print(q[:40], a.status, a.headers.get("content-type"), a.body[:150] if a.status>=400 else "")
def test_headers(asgi, member):
    for h in [{"authorization":"Bearer"},{"authorization":"Bearer "},{"authorization":"Bearer a b"},{"authorization":"Bearer \xff\xfe"},{"authorization":"Bearer a.b.c"},{"authorization":"Basic xx"},{"authorization":"\x00"},{"authorization":"Bearer "+"a"*100000},{"authorization":"Bearer ey.\xe9.x"}, {"x":"a"*200000},{"accept":"application/xml"},{"accept":"\xff"},{"accept":";;;,,,"},{"cookie":"sessionid=\xff;;;=\x00"},{"host":"evil"},{"host":"\xff"},{"content-length":"abc"},{"content-length":"-1"},{"content-length":"9"*30},{"content-length":"\xb2"},{"content-length":""},{"content-length":"5"},{"transfer-encoding":"nonsense"},{"expect":"x"},{"accept-language":"\xff"*5000},{"if-modified-since":"\x00"},{"cookie":"a="+"b"*100000}]:
        for path in ("/auth/me","/dora"):
            a = asgi.get(path, headers=h)
            print({k:v[:30] for k,v in h.items()}, path, a.status, a.headers.get("content-type"), a.body[:100] if a.status>=400 else "")
def test_tokens(asgi, member):
    from accounts import tokens
    pair = tokens.issue(member)
    for uid in ["x", None, [1], {"a":1}, 10**40, -1, 1.5, "NaN", float("nan"), True, "1\x00", "\ud800", "", "9"*5000]:
        try:
            t = AccessToken(pair.access)
            t["user_id"] = uid
            s = str(t)
        except Exception as e:
            print("cannot", repr(uid)[:30], e); continue
        a = asgi.get("/auth/me", headers={"authorization": f"Bearer {s}"})
        from rest_framework_simplejwt.tokens import RefreshToken
        r = RefreshToken(pair.refresh); r["user_id"]=uid
        b = asgi.post("/auth/refresh", json={"refresh": str(r)})
        r = RefreshToken(pair.refresh); r["jti"]=uid
        c = asgi.post("/auth/refresh", json={"refresh": str(r)})
        r = RefreshToken(pair.refresh); r["family"]=uid
        d = asgi.post("/auth/refresh", json={"refresh": str(r)})
        print(repr(uid)[:30], a.status, b.status, c.status, d.status)
