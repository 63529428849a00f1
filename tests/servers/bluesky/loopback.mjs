// Preloaded: the servers would listen on every interface of the machine; here they listen on loopback alone.
import net from 'node:net'

const listen = net.Server.prototype.listen

net.Server.prototype.listen = function (...args) {
  const [where] = args
  if (typeof where === 'number' || (typeof where === 'string' && /^\d+$/.test(where))) {
    const rest = args.slice(1).filter((given) => typeof given === 'function')
    return listen.call(this, { port: Number(where), host: '127.0.0.1' }, ...rest)
  }
  if (where && typeof where === 'object' && 'port' in where) {
    return listen.call(this, { ...where, host: '127.0.0.1' }, ...args.slice(1))
  }
  return listen.apply(this, args)
}
