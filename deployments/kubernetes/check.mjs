// Checks what kubeconform and kube-score do not check, and collects the settings of the server in a pod:
//
//   yaml --json <manifests.yaml | node check.mjs FOLDER
//
// It writes the environment variables to FOLDER/settings, one per line. It writes the path of each
// probe, and the status that it returns without stores, to FOLDER/probes. It writes the values
// of the Secrets to the existing folder FOLDER/secrets.
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

// stopSeconds is the maximum time that the server takes to stop: see "Stop and upgrade" in deployments/README.md.
const stopSeconds = 20

const folder = resolve(process.argv[2])
const objects = JSON.parse(readFileSync(0)).filter(Boolean)
const ofKind = (kind) => objects.filter((object) => object.kind === kind)

const problems = []
const check = (ok, problem) => ok || problems.push(problem)

const [deployment] = ofKind('Deployment')
const { metadata, spec: pod } = deployment.spec.template
const [container] = pod.containers

// One server, in a namespace of its own.
check(ofKind('Deployment').length === 1, 'there is more than one Deployment')
check(pod.containers.length === 1, 'there is more than one container')
check(
  ofKind('Namespace').some(({ metadata: { name } }) => name === deployment.metadata.namespace),
  `the namespace ${deployment.metadata.namespace} is missing`,
)

// The version is in one place, so the labels follow the image. The base has no version.
const labels = [deployment.metadata.labels, metadata.labels].map((all) => all['app.kubernetes.io/version'])
const [, tag] = container.image.split(':')
check(labels.every((label) => label === tag), `the label app.kubernetes.io/version is not ${tag}, the tag of the image: ${labels}`)

// Check all references to ports of the container. Kubernetes accepts ports that do not exist.
const ports = container.ports.flatMap(({ name, containerPort }) => [name, containerPort])
const checkPort = (what, port) => check(ports.includes(port), `${what}: the container has no port ${port}`)

for (const service of ofKind('Service')) {
  for (const { port, targetPort } of service.spec.ports) checkPort(`Service ${service.metadata.name}`, targetPort ?? port)
}

for (const policy of ofKind('NetworkPolicy')) {
  for (const { port } of (policy.spec.ingress ?? []).flatMap((rule) => rule.ports ?? [])) {
    checkPort(`NetworkPolicy ${policy.metadata.name}`, port)
  }
}

const probes = []

for (const [name, status] of [['startupProbe', 200], ['livenessProbe', 200], ['readinessProbe', 503]]) {
  const probe = container[name]?.httpGet
  check(probe, `${name} is missing`)
  if (!probe) continue

  checkPort(name, probe.port)
  probes.push(`${status} ${probe.path}`)
}

for (const { topologyKey, labelSelector } of pod.topologySpreadConstraints ?? []) {
  const matches = Object.entries(labelSelector.matchLabels).every(([label, value]) => metadata.labels[label] === value)
  check(matches, `the constraint on ${topologyKey} does not select the pods`)
}

for (const { metadata: { name }, spec } of ofKind('HorizontalPodAutoscaler')) {
  check(spec.maxReplicas >= spec.minReplicas, `HorizontalPodAutoscaler ${name}: maxReplicas is below minReplicas`)
}

// The cookie is Secure, so the API needs TLS.
for (const { metadata: { name }, spec } of ofKind('Ingress')) {
  for (const { host } of spec.rules) {
    check((spec.tls ?? []).some(({ hosts }) => hosts.includes(host)), `Ingress ${name}: ${host} has no TLS`)
  }
}

check(pod.enableServiceLinks === false, 'enableServiceLinks must be false: a Service called redis would set REDIS_PORT to a URL')

const needed = (container.lifecycle?.preStop?.sleep?.seconds ?? 0) + stopSeconds
check((pod.terminationGracePeriodSeconds ?? 30) >= needed, `terminationGracePeriodSeconds must be at least ${needed}`)

// The settings.
const settings = {}

for (const { configMapRef } of container.envFrom) {
  const config = ofKind('ConfigMap').find(({ metadata: { name } }) => name === configMapRef?.name)
  check(config, `envFrom: there is no ConfigMap ${configMapRef?.name}`)
  Object.assign(settings, config?.data)
}

for (const { name, value } of container.env) settings[name] = value ?? ''

checkPort('PORT', Number(settings.PORT))
checkPort('OPS_ADDR', Number(settings.OPS_ADDR?.split(':').pop()))

// Settings that name a file of a Secret read it from FOLDER/secrets instead.
const secrets = ofKind('Secret')

for (const [name, path] of Object.entries(settings)) {
  if (!name.endsWith('_FILE')) continue

  const mount = container.volumeMounts?.find(({ mountPath }) => resolve(mountPath) === dirname(path))
  const secret = pod.volumes?.find((volume) => volume.name === mount?.name)?.secret
  check(secret, `${name}: no Secret is mounted at ${dirname(path)}`)
  if (!secret || secrets.length === 0) continue

  const given = secrets.find((object) => object.metadata.name === secret.secretName)
  check(given?.stringData?.[basename(path)], `${name}: the Secret ${secret.secretName} has no ${basename(path)}`)
  settings[name] = join(folder, 'secrets', basename(path))
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exit(1)

const lines = (list) => list.map((line) => `${line}\n`).join('')
writeFileSync(join(folder, 'settings'), lines(Object.entries(settings).map(([name, value]) => `${name}=${value}`)))
writeFileSync(join(folder, 'probes'), lines(probes))

for (const [name, value] of secrets.flatMap(({ stringData = {} }) => Object.entries(stringData))) {
  writeFileSync(join(folder, 'secrets', name), value)
}
