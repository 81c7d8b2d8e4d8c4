# needs: tar gzip bzip2 xz zstd sha256sum
mkdir -p tree/deep/er
i=0; while [ $i -lt 60 ]; do seq $i $((i * 70)) >tree/deep/file$i; i=$((i + 1)); done
ln -s file3 tree/deep/link; : >tree/deep/er/empty
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf all.tar tree
for tool in gzip bzip2 xz 'zstd -q'; do
    $tool -c <all.tar >packed; $tool -dc <packed | cmp - all.tar && echo "$tool fine"
done
mkdir again; tar -C again -xf all.tar; diff -r tree again/tree && echo same
sha256sum all.tar | cut -c1-16
rm -rf packed
