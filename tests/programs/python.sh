# needs: python3
cat >work.py <<'X'
import hashlib, json, os, signal, subprocess, sys, tempfile, time
print(hashlib.sha256(b"".join(i.to_bytes(4, "big") for i in range(200000))).hexdigest())
print(json.dumps({"a": [i ** 5 for i in range(8)], "b": {"c": None}}, sort_keys=True))
kids = []
for number in range(6):
    pid = os.fork()
    if pid == 0:
        sys.exit(sum(i * number for i in range(30000)) % 50)
    kids.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in kids])
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
total = 0
while len(hits) < 10:
    total += 1
signal.setitimer(signal.ITIMER_REAL, 0)
begin = time.monotonic()
time.sleep(0.1)
print("slept", time.monotonic() - begin >= 0.1)
with tempfile.TemporaryFile() as file:
    file.write(bytes(range(256)) * 4000)
    file.seek(1000)
    print(file.read(5).hex())
print(subprocess.run(["sh", "-c", "cat; exit 5"], input=b"given\n", stdout=subprocess.PIPE))
try:
    open("/nowhere/at/all")
except OSError as error:
    print(error)
X
python3 work.py
