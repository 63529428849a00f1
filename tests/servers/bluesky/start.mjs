// Starts Bluesky's own servers, says where they are in one line of JSON, and ends with whoever started it.
//   node --import ./loopback.mjs start.mjs alone    a PDS and a PLC directory; nothing that counts likes
//   node --import ./loopback.mjs start.mjs network  with the AppView; DB_POSTGRES_URL and REDIS_HOST say where to keep it
import { TestNetwork, TestNetworkNoAppView } from '@atproto/dev-env'

const limited = { rateLimitsEnabled: true, bskyAppViewCdnUrlPattern: undefined }
const withoutAppView = { bskyAppViewUrl: undefined, bskyAppViewDid: undefined, modServiceUrl: undefined, modServiceDid: undefined }

const network =
  process.argv[2] === 'network'
    ? await TestNetwork.create({ pds: limited, dbPostgresSchema: 'kilroy' })
    : await TestNetworkNoAppView.create({ pds: { ...limited, ...withoutAppView } })

process.stdin.resume()
process.stdin.once('end', () => process.exit(0))
process.stdout.write(JSON.stringify({ pds: network.pds.url, admin: network.pds.adminAuth() }) + '\n')
