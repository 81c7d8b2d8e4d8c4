# needs: git
export GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z' GIT_CONFIG_NOSYSTEM=1
git init -q -b trunk work; cd work
git config user.name Somebody; git config user.email somebody@example.org; git config gc.auto 0
for i in 1 2 3 4 5; do seq $i $((i * 200)) >f$i; git add .; git commit -qm "number $i"; done
git checkout -qb side HEAD~2; echo more >>f1; git commit -qam aside; git merge -q -m joined trunk
git log --format='%h %s' | cat
git diff --stat HEAD~1 | tail -n 1
git fsck 2>&1 | grep -v '^Checking'
cd ..; git clone -q work copy && git -C copy rev-parse HEAD
rm -rf work copy
