/**
 * A function that is asked the same for each of hundreds of hosts, such as which hosts are controllers: it looks once. Only for
 * what never changes, as a `Cloud` and its lists: they are frozen.
 */
export function once<Subject extends object, Result, Rest extends readonly string[]>(
  make: (subject: Subject, ...rest: Rest) => Result,
): (subject: Subject, ...rest: Rest) => Result {
  const made = new WeakMap<Subject, Map<string, Result>>();
  return (subject, ...rest) => {
    const known = made.get(subject) ?? new Map<string, Result>();
    made.set(subject, known);
    const key = rest.join(" ");
    const result = known.get(key) ?? make(subject, ...rest);
    known.set(key, result);
    return result;
  };
}
